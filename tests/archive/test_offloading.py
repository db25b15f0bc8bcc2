"""Contents that the kernel or the web server sends, where the operator wants it and both can."""

from __future__ import annotations

import io
import random
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

import pytest
import requests
from werkzeug.test import TestResponse
from werkzeug.wsgi import FileWrapper

from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_model import FileRecord
from tests.archive.conftest import NOON, ArchiveNode, opened
from tests.components import started
from tests.db.making import add_file, add_status
from tests.deployment.deployed import DeployedNode
from tests.deployment.servers import GunicornNode, NginxNode
from tests.server.conftest import id_of

MakeNode = Callable[..., ArchiveNode]
SCRIPT = Path(__file__).with_name("offload_script.py")
CONTENT = random.Random(18).randbytes(3_000_000)
SECONDS = 60

X_ACCEL = {"METEORPI_OFFLOAD": "x-accel-redirect"}
X_SENDFILE = {"METEORPI_OFFLOAD": "x-sendfile"}
WITH_MOD_ZIP = {"METEORPI_OFFLOAD": "x-accel-redirect mod_zip"}

on_sqlite = pytest.mark.engines("sqlite")


def streamed(node: ArchiveNode, record: FileRecord) -> str:
    """The link to one file as it is."""
    made = node.generate([{"record": id_of(record).hex}], type="stream").json
    assert made is not None
    return str(made["href"])


def path_of(node: ArchiveNode, record: FileRecord) -> str:
    with node.db.store.local_path(id_of(record)) as path:
        return str(path)


# --- the web server sends single files ------------------------------------------------------------------


@on_sqlite
@pytest.mark.contract("archive-3.18/x-accel")
def test_file_is_left_to_the_web_server_that_offers_to_send_it(make_archive_node: MakeNode) -> None:
    node = make_archive_node(offload="x-accel")
    record, *_ = node.add_files()
    link, path = streamed(node, record), path_of(node, record)

    by_nginx = node.get(link, environ_overrides=X_ACCEL)
    part = node.get(link, environ_overrides=X_ACCEL, headers={"Range": "bytes=5-9"})
    by_apache = node.get(link, environ_overrides=X_SENDFILE)

    for answer in (by_nginx, part):
        assert (answer.status_code, answer.data) == (200, b"")
        assert answer.headers["X-Accel-Redirect"] == f"/_meteorpi_files{path}"
        assert "Content-Length" not in answer.headers
    assert by_apache.headers["X-Sendfile"] == path
    assert by_nginx.headers["ETag"] == f'"{record.md5}"'


@on_sqlite
@pytest.mark.contract("archive-3.18/x-accel")
def test_prefix_is_the_operators(make_archive_node: MakeNode) -> None:
    node = make_archive_node(offload="x-accel", offload_prefix="/inside")
    record, *_ = node.add_files()

    answer = node.get(streamed(node, record), environ_overrides=X_ACCEL)

    assert answer.headers["X-Accel-Redirect"] == f"/inside{path_of(node, record)}"


@on_sqlite
@pytest.mark.contract("archive-3.18/x-accel")
@pytest.mark.parametrize("why", ["nobody wants it", "nobody offers it", "it has a rate"])
def test_file_is_sent_by_the_node_where_it_is_not_left_to_another(
    make_archive_node: MakeNode, why: str
) -> None:
    options: dict[str, Any] = {} if why == "nobody wants it" else {"offload": "x-accel"}
    if why == "it has a rate":
        options["rate_download"] = 10**9
    node = make_archive_node(**options)
    record, *_ = node.add_files()

    answer = node.get(streamed(node, record), environ_overrides={} if why == "nobody offers it" else X_ACCEL)

    assert (answer.status_code, answer.data) == (200, b"A" * 2000)
    assert not {"X-Accel-Redirect", "X-Sendfile"} & set(answer.headers.keys())


@on_sqlite
@pytest.mark.contract("archive-3.18/x-accel")
def test_content_that_was_not_verified_for_long_is_sent_by_the_node(make_archive_node: MakeNode) -> None:
    node = make_archive_node(offload="x-accel", verify_interval=3)
    record, *_ = node.add_files()
    link = streamed(node, record)
    node.clock.ahead = timedelta(hours=23)
    assert "X-Accel-Redirect" in node.get(link, environ_overrides=X_ACCEL).headers

    node.clock.ahead = timedelta(days=3, seconds=1)
    link = streamed(node, record)

    assert node.get(link, environ_overrides=X_ACCEL).data == b"A" * 2000
    node.db.bring_content_back(id_of(record), [b"A" * 2000])
    assert "X-Accel-Redirect" in node.get(link, environ_overrides=X_ACCEL).headers


@on_sqlite
@pytest.mark.contract("archive-3.18/x-accel", "archive-3.18/mod_zip")
def test_access_and_limits_are_looked_at_before(make_archive_node: MakeNode) -> None:
    node = make_archive_node(offload="x-accel", max_active=1)
    record, *_ = node.add_files()
    link = streamed(node, record)
    bound = node.ticket([{"record": id_of(record).hex}], node.client(), bind="client", manifest=False)
    large = node.add_file(CONTENT)

    with node.http.get(streamed(node, large), buffered=False) as running:
        assert running.status_code == 200
        assert node.get(link, environ_overrides=X_ACCEL).status_code == 503
    assert node.get(bound["href"], environ_overrides=WITH_MOD_ZIP).status_code in (401, 403)
    assert node.get(f"{link[:-40]}x", environ_overrides=X_ACCEL).status_code == 404
    assert "X-Accel-Redirect" in node.get(link, environ_overrides=X_ACCEL).headers


# --- the kernel sends single files ----------------------------------------------------------------------


@pytest.fixture
def wrapping() -> dict[str, Any]:
    """An environment whose server can have files sent; `lent` of the wrapper has those that it was given."""

    class Wrapper(FileWrapper):
        lent: ClassVar[list[io.FileIO]] = []

        def __init__(self, file: Any, buffer_size: int = 8192) -> None:
            super().__init__(file, buffer_size)
            self.lent.append(file)

    return {"wsgi.file_wrapper": Wrapper}


@on_sqlite
@pytest.mark.contract("archive-3.18/sendfile")
def test_file_is_lent_to_the_server(make_archive_node: MakeNode, wrapping: dict[str, Any]) -> None:
    node = make_archive_node(offload="sendfile")
    record = node.add_file(CONTENT)
    link = streamed(node, record)
    lent = wrapping["wsgi.file_wrapper"].lent

    whole = node.get(link, environ_overrides=wrapping)
    rest = node.get(link, environ_overrides=wrapping, headers={"Range": "bytes=1000000-"})
    middle = node.get(link, environ_overrides=wrapping, headers={"Range": "bytes=5-9"})
    ours = node.get(link)
    head = node.http.head(link, environ_overrides=wrapping)

    assert (whole.status_code, whole.data) == (200, CONTENT)
    assert (rest.status_code, rest.data) == (206, CONTENT[1_000_000:])
    assert (middle.status_code, middle.data) == (206, CONTENT[5:10])
    assert (ours.data, head.data) == (CONTENT, b"")
    assert [file.closed for file in lent] == [True, True]  # not all servers would stop before the end
    for answer in (whole, ours):
        answer.headers.pop("X-Request-ID")
    assert dict(whole.headers) == dict(ours.headers)


@on_sqlite
@pytest.mark.contract("archive-3.18/sendfile")
def test_slot_of_a_lent_file_is_free_when_it_is_closed(
    make_archive_node: MakeNode, wrapping: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    node = make_archive_node(offload="sendfile", max_active=1)
    link = streamed(node, node.add_file(CONTENT))

    answer = node.http.get(link, environ_overrides=wrapping, buffered=False)
    assert node.get(streamed(node, node.add_file(b"other")), environ_overrides=wrapping).status_code == 503
    with caplog.at_level("INFO"):
        answer.close()
        assert node.get(link, environ_overrides=wrapping).data == CONTENT

    assert "outcome=aborted" in caplog.text
    assert f"outcome=complete bytes={len(CONTENT)}" in caplog.text


class Served:
    """A node with one file, under a real server."""

    def __init__(self, server: type[DeployedNode], way: str, script: Path | None = None) -> None:
        settings = {"archive_offload": way, "routes": ["query", "archive"]}
        self.node = server(settings, processes=1, threads=4, script=script)
        self.node.add_account("visitor", "sesame open", "user")
        with MeteorDatabase(str(self.node.settings["db_path"]), str(self.node.settings["file_store"])) as db:
            add_status(db)
            record = add_file(db, content=CONTENT)
            self.item = {"record": id_of(record).hex}
            self.secret = ArchiveRegister(db.transactions).add_client("portal")
        for path in (self.node.data, *self.node.data.rglob("*")):
            self.node.give(path)

    def get(self, **headers: str) -> requests.Response:
        made = requests.post(
            f"{self.node.url}/ticket/generate",
            json={"type": "stream", "items": [self.item]},
            headers={"Authorization": self.secret},
            timeout=SECONDS,
        ).json()
        return requests.get(f"{self.node.url}/ticket/{made['id']}/download", headers=headers, timeout=SECONDS)

    def lent(self) -> list[str]:
        """The ranges of the answers that gunicorn was lent a file for."""
        return (self.node.data / "lent").read_text().splitlines()


@pytest.fixture
def serve_file() -> Iterator[Callable[..., Served]]:
    """Call it with what :class:`Served` takes."""
    with ExitStack() as stack:

        def make(*arguments: Any) -> Served:
            found: list[Served] = []

            def deploy() -> DeployedNode:
                found.append(Served(*arguments))
                return found[-1].node

            started(stack, deploy)
            return found[-1]

        yield make


def read_bytes(node: DeployedNode) -> int:
    """What the processes of the node itself have read so far (proc(5), ``rchar``)."""
    texts = (Path(f"/proc/{pid}/io").read_text() for pid in node.processes())
    return sum(int(text.split()[1]) for text in texts)


@pytest.mark.contract("archive-3.18/x-accel")
def test_nginx_sends_the_file(serve_file: Callable[..., Served]) -> None:
    served = serve_file(NginxNode, "x-accel")
    served.get(Range="bytes=0-0")
    before = read_bytes(served.node)

    whole = served.get()
    part = served.get(Range="bytes=7-8")

    assert (whole.status_code, whole.content == CONTENT) == (200, True)
    assert (part.status_code, part.content) == (206, CONTENT[7:9])
    assert whole.headers["ETag"] == part.headers["ETag"]
    assert "X-Accel-Redirect" not in whole.headers
    assert read_bytes(served.node) - before < len(CONTENT)


@pytest.mark.contract("archive-3.18/sendfile")
def test_gunicorn_has_the_kernel_send_the_file(serve_file: Callable[..., Served]) -> None:
    """What it is given in a wrapper of its own it sends by sendfile(2)."""
    served = serve_file(GunicornNode, "sendfile", SCRIPT)

    whole = served.get()
    rest = served.get(Range="bytes=2999990-")
    middle = served.get(Range="bytes=7-8")

    assert (whole.status_code, whole.content == CONTENT) == (200, True)
    assert (rest.status_code, rest.content) == (206, CONTENT[-10:])
    assert (middle.status_code, middle.content) == (206, CONTENT[7:9])
    assert served.lent() == ["whole", "bytes=2999990-"]


# --- nginx with mod_zip puts archives together -----------------------------------------------------------


@on_sqlite
@pytest.mark.contract("archive-3.18/mod_zip", "archive-defect-25")
def test_nginx_is_given_the_list_of_the_archive(make_archive_node: MakeNode) -> None:
    node = make_archive_node(offload="mod_zip")
    node.add_files()
    node.add_file(b"accents", time=NOON + timedelta(hours=9), file_name="é a.txt")
    link = node.ticket([{"search": {}}], manifest=False)["href"]

    listed = node.get(link, environ_overrides=WITH_MOD_ZIP)
    own = node.get(link)

    assert listed.headers["X-Archive-Files"] == "zip"
    assert listed.headers["Content-Disposition"] == own.headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(own.data)) as archive:
        expected = [(each.CRC, each.file_size, each.filename) for each in archive.infolist()]
    assert [(crc, size, name) for crc, size, _, name in lines_of(listed)] == expected
    for crc, size, location, _ in lines_of(listed):
        assert location.startswith("/_meteorpi_files/")
        content = Path(unquote(location.removeprefix("/_meteorpi_files"))).read_bytes()
        assert (zlib.crc32(content), len(content)) == (crc, size)


def lines_of(answer: TestResponse) -> list[tuple[int, int, str, str]]:
    """Checksum, size, location and name of each entry."""
    text = answer.data.decode()
    assert text.endswith("\r\n")
    split = [line.split(" ", 3) for line in text.removesuffix("\r\n").split("\r\n")]
    return [(int(crc, 16), int(size), location, name) for crc, size, location, name in split]


@on_sqlite
@pytest.mark.contract("archive-3.18/mod_zip", "archive-defect-25")
def test_list_has_no_tag_and_no_parts_of_ours(make_archive_node: MakeNode) -> None:
    """The bytes that nginx makes are others: what we say of ours would not be true of them."""
    node = make_archive_node(offload="mod_zip")
    node.add_files()
    link = node.ticket([{"search": {}}], manifest=False)["href"]
    tag = node.get(link).headers["ETag"]

    whole = node.get(link, environ_overrides=WITH_MOD_ZIP)
    for header in (
        {"Range": "bytes=0-9"},
        {"Range": "bytes=99999999-"},
        {"Range": "bytes=5-", "If-Range": tag},
        {"If-None-Match": tag},
        {"If-Match": '"other"'},
    ):
        answer = node.get(link, environ_overrides=WITH_MOD_ZIP, headers=header)
        assert (answer.status_code, answer.data) == (200, whole.data)
    head = node.http.head(link, environ_overrides=WITH_MOD_ZIP)

    for answer in (whole, head):
        assert not {"ETag", "Accept-Ranges", "Last-Modified"} & set(answer.headers.keys())
    assert head.status_code == 200
    assert head.headers.get("Content-Length") in (None, "0")


@on_sqlite
@pytest.mark.contract("archive-3.18/mod_zip")
@pytest.mark.parametrize(
    "options", [{"manifest": True}, {"comment": "of ours"}, {"once": True}, {"compression": "deflate"}]
)
def test_archive_that_nginx_cannot_make_is_made_here(
    make_archive_node: MakeNode, options: dict[str, Any]
) -> None:
    node = make_archive_node(offload="mod_zip")
    node.add_files()
    made = node.ticket([{"search": {}}], **({"manifest": False} | options))

    answer = node.get(made["href"], environ_overrides=WITH_MOD_ZIP)

    assert "X-Archive-Files" not in answer.headers
    assert len(opened(answer)) == 3 + bool(options.get("manifest"))


@on_sqlite
@pytest.mark.contract("archive-3.18/mod_zip")
def test_list_is_made_where_it_is_understood_only(make_archive_node: MakeNode) -> None:
    node = make_archive_node(offload="mod_zip")
    node.add_files()
    link = node.ticket([{"search": {}}], manifest=False)["href"]

    for answer in (node.get(link), node.get(link, environ_overrides=X_ACCEL)):
        assert "X-Archive-Files" not in answer.headers
        assert len(opened(answer)) == 3


@on_sqlite
@pytest.mark.contract("archive-3.18/mod_zip", "archive-3.12/before")
def test_contents_that_are_gone_or_old_are_not_listed(make_archive_node: MakeNode) -> None:
    node = make_archive_node(offload="mod_zip")
    record, *_ = node.add_files()
    link = node.ticket([{"search": {}}], {**node.client()}, manifest=False, ttl=40 * 86_400 // 2)["href"]
    Path(path_of(node, record)).write_bytes(b"short")

    gone = node.get(link, environ_overrides=WITH_MOD_ZIP)
    node.db.bring_content_back(id_of(record), [b"A" * 2000])
    listed = node.get(link, environ_overrides=WITH_MOD_ZIP)

    assert gone.status_code == 409
    assert "X-Archive-Files" in listed.headers
    node.clock.ahead = timedelta(days=19)
    assert "X-Archive-Files" in node.get(link, environ_overrides=WITH_MOD_ZIP).headers
