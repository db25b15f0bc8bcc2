"""The bytes behind a ticket: headers, ranges, conditions, and what happens when something breaks."""

from __future__ import annotations

import email
import io
import logging
import random
import zipfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import requests
from werkzeug.http import http_date
from werkzeug.test import TestResponse

from meteorpi_db import MeteorDatabase
from meteorpi_db.testing.processes import wait_until
from meteorpi_model import FileRecord
from meteorpi_server import MeteorApp, archive_api
from meteorpi_server.logs import configure_logging
from meteorpi_server.settings import Settings
from tests.archive.conftest import NOON, ArchiveNode, opened
from tests.archive.test_streams import service_of
from tests.server.conftest import Node, basic, id_of

pytestmark = pytest.mark.engines("sqlite")

EVERYTHING = [{"search": {"limit": 0}}]
DEADLINE = 60.0


@pytest.fixture
def made(archive_node: ArchiveNode) -> Any:
    """A ticket for three files."""
    archive_node.add_files()
    return archive_node.ticket(EVERYTHING)


@pytest.fixture
def whole(archive_node: ArchiveNode, made: Any) -> bytes:
    """The bytes behind it."""
    data: bytes = archive_node.get(made["href"]).data
    return data


@pytest.mark.contract(
    "archive-3.8/sized", "archive-fpx/download", "archive-fpx/content", "archive-3.13/times",
    "archive-defect-8", "archive-3.15/store",
)  # fmt: skip
def test_download_has_length_and_headers_and_holds_the_files(archive_node: ArchiveNode, made: Any) -> None:
    answer = archive_node.get(made["href"] + "/any%20name.zip", headers={"Accept-Encoding": "gzip, br"})

    newest = NOON + timedelta(hours=8, minutes=2)
    expected = {
        "Content-Length": str(len(answer.data)),
        "Content-Type": "application/zip",
        "Content-Disposition": "attachment; filename=\"collection.zip\"; filename*=UTF-8''collection.zip",
        "Last-Modified": http_date(newest),
        "Cache-Control": "private, no-transform",
        "X-Content-Type-Options": "nosniff",
        "X-Accel-Buffering": "no",
        "Accept-Ranges": "bytes",
        "ETag": f'"{made["etag"]}"',
    }
    assert {name: answer.headers[name] for name in expected} == expected
    assert "Content-Encoding" not in answer.headers
    found = opened(answer)
    assert [found[name] for name in list(found)[1:]] == [b"A" * 2000, b"B" * 2001, b"C" * 2002]
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        infos = archive.infolist()
        assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
        assert infos[-1].date_time == newest.timetuple()[:6]


@pytest.mark.contract("archive-3.8/head", "archive-3.7/once")
def test_head_has_the_headers_and_touches_nothing(
    make_archive_node: Callable[..., ArchiveNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_archive_node(max_active=1)
    node.add_files()
    made = node.ticket(EVERYTHING, once=True)
    with node.http.get(made["href"]) as running:
        monkeypatch.setattr(node.db.store, "open", None)
        monkeypatch.setattr(node.db.store, "stat", None)

        answer = node.http.head(made["href"], headers={"Range": "bytes=0-9"})

        assert (answer.status_code, answer.data) == (200, b"")
        named = ("Content-Length", "ETag", "Last-Modified", "Content-Disposition", "Accept-Ranges")
        assert [answer.headers[name] for name in named] == [running.headers[name] for name in named]
        monkeypatch.undo()
    assert node.get(made["href"]).status_code == 200, "neither HEAD nor what was given up used it up"
    assert node.get(made["href"]).status_code == 404


@pytest.mark.contract("archive-fpx/download", "archive-3.2/redirect")
def test_wrong_methods_are_405_and_what_is_not_there_404(archive_node: ArchiveNode, made: Any) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = archive_node.http.open(made["href"], method=method)
        assert answer.status_code == 405
        assert {"GET", "HEAD"} <= set(answer.headers["Allow"].split(", "))
        assert answer.json is not None
        assert isinstance(answer.json["errors"], dict)
    for ticket_id in ("x", "0" * 32, "..%2f", made["id"][:-1]):
        unknown = archive_node.get(f"/ticket/{ticket_id}/download")
        assert unknown.status_code == 404


@pytest.mark.contract("archive-3.8/range")
def test_single_ranges_are_parts_of_the_whole(archive_node: ArchiveNode, made: Any, whole: bytes) -> None:
    total = len(whole)
    chance = random.Random(8)
    cuts = [(0, 0), (0, total - 1), (total - 1, total - 1), (1, total + 99)]
    cuts += [tuple(sorted(chance.choices(range(total), k=2))) for _ in range(40)]  # type: ignore[misc]
    texts = [f"{first}-{last}" for first, last in cuts] + ["7-", "-7", f"-{total + 1}"]

    for text in texts:
        answer = archive_node.get(made["href"], headers={"Range": f"bytes={text}"})
        unit, _, where = answer.headers["Content-Range"].partition(" ")
        first, last = map(int, where.partition("/")[0].split("-"))

        assert (answer.status_code, unit, where.partition("/")[2]) == (206, "bytes", str(total))
        assert answer.data == whole[first : last + 1]
        assert int(answer.headers["Content-Length"]) == last + 1 - first


@pytest.mark.contract("archive-3.8/range", "archive-6.2")
def test_several_ranges_are_sorted_and_merged_and_put_together_again(
    archive_node: ArchiveNode, made: Any, whole: bytes
) -> None:
    chance = random.Random(9)
    for count in (2, 3, 8, 16):
        cuts = [sorted(chance.choices(range(len(whole)), k=2)) for _ in range(count)]
        text = ", ".join(f"{first}-{last}" for first, last in cuts)
        answer = archive_node.get(made["href"], headers={"Range": f"bytes={text}"})

        assert answer.status_code == 206
        assert int(answer.headers["Content-Length"]) == len(answer.data)
        wanted = {position for first, last in cuts for position in range(first, last + 1)}
        assert _covered(answer, whole) == wanted


def _covered(answer: TestResponse, whole: bytes) -> set[int]:
    """The positions that an answer with ranges holds, each once, in order, with the right byte."""
    if not answer.content_type.startswith("multipart/"):
        first, last = map(int, answer.headers["Content-Range"].split()[1].partition("/")[0].split("-"))
        assert answer.data == whole[first : last + 1]
        return set(range(first, last + 1))
    message = email.message_from_bytes(f"Content-Type: {answer.content_type}\r\n\r\n".encode() + answer.data)
    covered: list[int] = []
    boundary = answer.mimetype_params["boundary"].encode()
    for part, raw in zip(message.walk(), answer.data.split(b"--" + boundary), strict=False):
        if part.is_multipart():
            continue
        first, last = map(int, part["Content-Range"].split()[1].partition("/")[0].split("-"))
        assert part.get_content_type() == "application/zip"
        assert raw.partition(b"\r\n\r\n")[2][: last + 1 - first] == whole[first : last + 1]
        covered += range(first, last + 1)
    assert covered == sorted(set(covered))
    return set(covered)


@pytest.mark.contract("archive-3.8/range")
@pytest.mark.parametrize(
    "text",
    ["bytes=", "bytes=x-y", "bytes=5-2", "bytes=1-2,x", "lines=1-2", "bytes=" + ",".join(["0-0"] * 17)],
)
def test_malformed_too_many_and_unknown_ranges_give_the_whole(
    archive_node: ArchiveNode, made: Any, whole: bytes, text: str
) -> None:
    answer = archive_node.get(made["href"], headers={"Range": text})

    assert (answer.status_code, answer.data) == (200, whole)


@pytest.mark.contract("archive-3.8/range")
def test_range_beyond_the_end_is_416(archive_node: ArchiveNode, made: Any, whole: bytes) -> None:
    answer = archive_node.get(made["href"], headers={"Range": f"bytes={len(whole)}-"})

    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(whole)}"


@pytest.mark.contract("archive-3.8/conditions")
def test_conditions_are_looked_at_in_the_order_of_the_standard(archive_node: ArchiveNode, made: Any) -> None:
    modified = NOON + timedelta(hours=8, minutes=2)
    tag, other, weak = f'"{made["etag"]}"', '"other"', f'W/"{made["etag"]}"'
    then, before = http_date(modified), http_date(modified - timedelta(seconds=1))
    part = {"Range": "bytes=0-4"}
    table: list[tuple[dict[str, str], int]] = [
        ({"If-None-Match": tag}, 304),
        ({"If-None-Match": weak}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": f"{other}, {tag}"}, 304),
        ({"If-None-Match": other}, 200),
        ({"If-None-Match": other, "If-Modified-Since": then}, 200),
        ({"If-Modified-Since": then}, 304),
        ({"If-Modified-Since": before}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Match": tag}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": weak}, 412),
        ({"If-Match": other}, 412),
        ({"If-Match": tag, "If-Unmodified-Since": before}, 200),
        ({"If-Match": tag, "If-None-Match": tag}, 304),
        ({"If-Unmodified-Since": then}, 200),
        ({"If-Unmodified-Since": before}, 412),
        ({**part, "If-Range": tag}, 206),
        ({**part, "If-Range": weak}, 200),
        ({**part, "If-Range": other}, 200),
        ({**part, "If-Range": then}, 206),
        ({**part, "If-Range": before}, 200),
        ({**part, "If-Range": http_date(modified + timedelta(seconds=1))}, 200),
        ({**part, "If-None-Match": tag}, 304),
        ({**part, "If-Match": other}, 412),
    ]

    answers = [(headers, archive_node.get(made["href"], headers=headers)) for headers, _ in table]

    assert [(headers, answer.status_code) for headers, answer in answers] == table
    for _, answer in answers:
        if answer.status_code == 304:
            assert answer.headers["ETag"] == tag
            assert answer.data == b""


@pytest.mark.contract("archive-3.8/etag", "archive-defect-25")
def test_tag_is_the_same_exactly_when_the_bytes_are(archive_node: ArchiveNode) -> None:
    records = archive_node.add_files()
    items = [{"record": id_of(record).hex} for record in records]
    variants: list[tuple[list[Any], dict[str, Any]]] = [
        (items, {}),
        (items, {"filename": "other.zip", "ttl": 5}),
        (items, {"manifest": False}),
        (items, {"manifest": False, "comment": "x"}),
        (items, {"manifest": False, "layout": "{id}"}),
        (items[::-1], {"manifest": False}),
        (items[1:], {"manifest": False}),
    ]
    tickets = [archive_node.ticket(chosen, **options) for chosen, options in variants]
    tickets.append(archive_node.ticket(items))

    bodies = [archive_node.get(ticket["href"]).data for ticket in tickets]

    for one, first in zip(tickets, bodies, strict=True):
        for two, second in zip(tickets, bodies, strict=True):
            assert (one["etag"] == two["etag"]) == (first == second)


@pytest.mark.contract("archive-3.8/etag", "archive-3.7/restart", "archive-6.2")
def test_another_process_sends_the_same_bytes_and_goes_on(
    archive_node: ArchiveNode, made: Any, whole: bytes
) -> None:
    db = MeteorDatabase(archive_node.db.db_path, archive_node.db.file_store_path)
    with db:
        meteor_app = MeteorApp(db=db, settings=Settings())
        archive_api.add_routes(meteor_app)
        other = Node(db, meteor_app, archive_node.directory)
        first = archive_node.get(made["href"], headers={"Range": "bytes=0-3999"})

        rest = other.get(made["href"], headers={"Range": "bytes=4000-", "If-Range": first.headers["ETag"]})

        assert rest.status_code == 206
        assert first.data + rest.data == whole
        assert other.get(made["status_href"]).json == archive_node.get(made["status_href"]).json


@pytest.mark.contract("archive-defect-15", "archive-fpx/life")
def test_download_can_be_repeated_and_given_up(archive_node: ArchiveNode, made: Any, whole: bytes) -> None:
    for _ in range(3):
        with archive_node.http.get(made["href"]) as given_up:
            assert next(iter(given_up.response))
        assert archive_node.get(made["href"]).data == whole


@pytest.mark.contract("archive-3.7/once", "archive-3.6/options")
def test_archive_for_once_can_be_gone_on_with_for_a_while(archive_node: ArchiveNode) -> None:
    archive_node.add_files()
    made = archive_node.ticket(EVERYTHING, once=True)
    archive_node.http.head(made["href"])
    assert archive_node.get(made["href"], headers={"Range": "bytes=0-9"}).status_code == 206

    whole = archive_node.get(made["href"])

    part = {"Range": "bytes=100-"}
    again = {**part, "If-Range": whole.headers["ETag"]}
    assert opened(whole)
    assert archive_node.get(made["href"]).status_code == 404
    assert archive_node.get(made["href"], headers=part).status_code == 404
    assert archive_node.get(made["href"], headers={**part, "If-Range": '"other"'}).status_code == 404
    assert archive_node.get(made["href"], headers=again).data == whole.data[100:]
    archive_node.clock.ahead = timedelta(seconds=3601)
    assert archive_node.get(made["href"], headers=again).status_code == 404


@pytest.mark.contract("archive-3.6/options")
def test_archive_is_downloaded_as_often_as_asked_for(archive_node: ArchiveNode) -> None:
    archive_node.add_files()
    made = archive_node.ticket(EVERYTHING, max_downloads=2)

    statuses = [archive_node.get(made["href"]).status_code for _ in range(3)]

    assert statuses == [200, 200, 404]


@pytest.mark.contract("archive-3.13/download-name", "archive-defect-12")
@pytest.mark.parametrize(
    ("name", "plain", "full"),
    [
        ("night", "night.zip", "night.zip"),
        ("night.ZIP", "night.zip", "night.zip"),
        ('a"; x="b.zip', "a_; x=_b.zip", "a_%3B%20x%3D_b.zip"),
        ("../../etc/été", ".._.._etc_ete_.zip", ".._.._etc_%C3%A9t%C3%A9.zip"),
        ("\\", "_.zip", "_.zip"),
        ("", "collection.zip", "collection.zip"),
        ("...", "collection.zip", "collection.zip"),
    ],
)
def test_name_of_the_download_is_clean_and_quoted(
    archive_node: ArchiveNode, name: str, plain: str, full: str
) -> None:
    archive_node.add_files(1)
    made = archive_node.ticket(EVERYTHING, filename=name)

    disposition = archive_node.http.head(made["href"]).headers["Content-Disposition"]

    assert disposition.endswith(f"; filename*=UTF-8''{full}")
    assert disposition.count('"') == 2
    assert disposition.isascii()
    if name != "../../etc/été":
        assert disposition.startswith(f'attachment; filename="{plain}"')


@pytest.mark.contract("archive-3.12/before", "archive-3.5/damaged")
def test_contents_that_went_away_are_told_before_the_first_byte(archive_node: ArchiveNode) -> None:
    records = archive_node.add_files()
    made = archive_node.ticket(EVERYTHING)
    archive_node.db.store.delete(id_of(records[1]))

    answer = archive_node.get(made["href"])

    assert answer.status_code == 409
    assert answer.json is not None
    (name,) = answer.json["errors"]["json"]["items"]
    assert name.endswith("/1.txt")
    assert archive_node.get(made["href"], headers={"Range": "bytes=0-9"}).status_code == 206


def damage(node: ArchiveNode, record: FileRecord) -> None:
    """Change a byte of the content of a record, behind everybody's back."""
    path = node.db.file_path_for_id(id_of(record))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


def read_until_cut(answer: requests.Response) -> bytes:
    """What comes before the connection is cut, which it has to be."""
    received = bytearray()
    try:
        for chunk in answer.iter_content(10_000):
            received += chunk
    except requests.RequestException:
        return bytes(received)
    raise AssertionError("the answer ended well")


@pytest.mark.contract("archive-3.12/after", "archive-3.5/damaged", "archive-defect-1", "archive-defect-6")
def test_damaged_content_cuts_the_connection_before_it_looks_whole(
    archive_node: ArchiveNode, serve: Callable[[ArchiveNode], str]
) -> None:
    records = archive_node.add_files(3, size=400_000)
    made = archive_node.ticket(EVERYTHING)
    damage(archive_node, records[1])

    with requests.get(serve(archive_node) + made["href"], stream=True, timeout=DEADLINE) as answer:
        assert answer.status_code == 200
        assert int(answer.headers["Content-Length"]) == made["bytes"]
        received = read_until_cut(answer)

    assert 400_000 < len(received) < made["bytes"] - 400_000
    assert b"B" * 400_000 not in received

    def state() -> Any:
        return archive_node.get(made["status_href"]).json

    wait_until(lambda: state()["state"] == "failed", DEADLINE, "the note of the failure")
    (error,) = state()["errors"]
    assert (error["index"], error["reason"]) == (2, "wrong-digest")
    assert error["name"].endswith("/1.txt")
    skipped = archive_node.ticket(EVERYTHING)["skipped"]
    assert [each["file_id"] for each in skipped] == [id_of(records[1]).hex]


@pytest.mark.contract("archive-3.8/gone", "archive-fpx/client-gone", "archive-3.9/limits")
def test_reader_that_leaves_frees_the_slot(make_archive_node: Callable[..., ArchiveNode]) -> None:
    node = make_archive_node(max_active=1)
    node.add_files(2, size=3_000_000)
    first, second = (node.ticket(EVERYTHING, layout=f"{number}/{{name}}") for number in range(2))

    with node.http.get(first["href"]) as running:
        assert next(iter(running.response))
        refused = node.get(second["href"])
        assert node.get(first["href"], headers={"Range": "bytes=0-9"}).status_code == 206

    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.json is not None
    assert list(refused.json["errors"]) == ["access"]
    assert node.get(second["href"]).status_code == 200


@pytest.mark.contract("archive-3.8/gone", "archive-3.9/limits", "archive-fpx/client-gone")
def test_reader_that_hangs_up_frees_slot_and_file(
    make_archive_node: Callable[..., ArchiveNode], serve: Callable[[ArchiveNode], str]
) -> None:
    node = make_archive_node(max_active=1)
    node.add_files(4, size=20_000_000)
    first, second = (node.ticket(EVERYTHING, layout=f"{number}/{{name}}") for number in range(2))
    address = serve(node)

    with requests.get(address + first["href"], stream=True, timeout=DEADLINE) as running:
        assert next(running.iter_content(100))
        assert requests.head(address + second["href"], timeout=DEADLINE).status_code == 200
        assert node.get(second["href"], headers={"Range": "bytes=0-9"}).status_code == 503

    def is_free() -> bool:
        return node.get(second["href"], headers={"Range": "bytes=0-9"}).status_code == 206

    wait_until(is_free, DEADLINE, "the end of the download that was given up")


@pytest.mark.contract("archive-3.9/limits")
def test_last_thread_of_the_process_is_never_taken(archive_node: ArchiveNode, made: Any) -> None:
    meteor_app = MeteorApp(db=archive_node.db, settings=Settings(threads=3))
    archive_api.add_routes(meteor_app, max_active=10)
    http = meteor_app.app.test_client()

    with http.get(made["href"]), http.get(made["href"]):
        refused = http.get(made["href"])

    assert refused.status_code == 503
    assert http.get(made["href"], buffered=True).status_code == 200


@pytest.mark.contract("archive-3.9/parallel")
def test_four_parts_of_one_archive_at_a_time(make_archive_node: Callable[..., ArchiveNode]) -> None:
    node = make_archive_node(max_active=1)
    node.add_files()
    made = node.ticket(EVERYTHING)
    running = [node.http.get(made["href"], headers={"Range": f"bytes={number}-"}) for number in range(4)]

    refused = node.get(made["href"])
    for answer in running:
        answer.close()

    assert {answer.status_code for answer in running} == {206}
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert node.get(made["href"]).status_code == 200


@pytest.mark.contract("archive-3.3/clients")
def test_client_has_a_limit_of_its_own(archive_node: ArchiveNode) -> None:
    archive_node.add_files()
    client = archive_node.client("one", downloads=1)
    mine = [archive_node.ticket(EVERYTHING, client, layout=f"{number}{{name}}") for number in range(2)]
    other = archive_node.ticket(EVERYTHING)

    with archive_node.http.get(mine[0]["href"]):
        assert archive_node.get(mine[1]["href"]).status_code == 503
        assert archive_node.get(other["href"]).status_code == 200
    assert archive_node.get(mine[1]["href"]).status_code == 200


@pytest.mark.contract("archive-3.2/routes")
def test_withdrawing_ends_what_is_running(archive_node: ArchiveNode) -> None:
    archive_node.add_files(3, size=2_000_000)
    made = archive_node.ticket(EVERYTHING)

    with archive_node.http.get(made["href"]) as running:
        chunks = iter(running.response)
        next(chunks)
        assert archive_node.http.delete(made["status_href"], headers=basic("visitor")).status_code == 204
        with pytest.raises(Exception, match="withdrawn"):
            list(chunks)


@pytest.mark.contract("archive-3.2/routes")
def test_withdrawing_through_another_process_ends_what_is_running(
    archive_node: ArchiveNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meteorpi_server.archive_api.watching.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("meteorpi_server.archive_api.watching.RENEW_SECONDS", 0.0)
    archive_node.add_files(3, size=2_000_000)
    made = archive_node.ticket(EVERYTHING)

    with archive_node.http.get(made["href"]) as running:
        chunks = iter(running.response)
        next(chunks)
        archive_node.register.withdraw(UUID(made["id"]))
        watcher = service_of(archive_node).watcher
        wait_until(lambda: not watcher.slots(), DEADLINE, "noticing that the ticket was withdrawn")
        with pytest.raises(Exception, match="withdrawn"):
            list(chunks)


@pytest.mark.contract("archive-3.3/logs")
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_links_are_cut_short_in_the_log_whoever_writes_them(
    archive_node: ArchiveNode, made: Any, monkeypatch: pytest.MonkeyPatch, log_format: str
) -> None:
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    stream = io.StringIO()
    secret = archive_node.client("one")["authorize"]
    try:
        configure_logging("DEBUG", log_format, stream)
        archive_node.get(made["href"], headers={"X-FPX-Authorize": secret})
        monkeypatch.setattr(archive_node.db.store, "read", None)
        archive_node.get(made["href"])
    finally:
        root.handlers[:], root.level = kept, level

    text = stream.getvalue()
    assert f"/ticket/{made['id'][:8]}" in text
    assert "Traceback" in text
    assert made["id"] not in text
    assert secret not in text


def test_each_download_is_one_line_of_the_log_without_the_link(
    archive_node: ArchiveNode, made: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    archive_node.get(made["href"])

    lines = [record.getMessage() for record in caplog.records if record.name == "meteorpi.archive.download"]
    assert len(lines) == 1
    assert f"bytes={made['bytes']}" in lines[0]
    assert made["id"] not in caplog.text
