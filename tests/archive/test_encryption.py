"""Archives under a password: read by other programs, and the password nowhere to be found."""

from __future__ import annotations

import io
import logging
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from meteorpi_db.archives.tables import TABLES
from meteorpi_db.exporting.secrets import SecretBox
from meteorpi_model.errors import ConfigurationError, InvalidDocumentError
from meteorpi_server.archiving import Entry, Form, Plan
from meteorpi_server.archiving.encryption import OVERHEAD_BYTES
from meteorpi_server.archiving.sending import send
from tests.archive.conftest import ArchiveNode
from tests.archive.plans import SOURCES, directory_entry, filling, text_entry
from tests.components import absent
from tests.server.conftest import basic

pytestmark = pytest.mark.engines("sqlite")

PASSWORD = "Sésame, ouvre-toi!"
SIZES = (0, 1, 15, 16, 17, 65_535, 200_000)
EVERYTHING = [{"search": {"limit": 0}}]


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        absent(f"{name} is not installed")
    return found


def ran(*arguments: object, code: int = 0) -> bytes:
    done = subprocess.run([*map(str, arguments)], capture_output=True, timeout=120, check=False)
    assert (done.returncode == 0) is (code == 0), done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def entries() -> list[Entry]:
    """Contents of many sizes: of known size, streamed as they are, and deflated on their way."""
    made = [directory_entry("d")]
    for size in SIZES:
        plain = text_entry(f"d/é {size}.bin", filling(size, size % 97), Form.ENCRYPTED)
        streamed = replace(plain, name=f"s/{size}.bin", form=Form.ENCRYPTED_STREAMED, size=None, crc=None)
        deflated = replace(streamed, name=f"z/{size}.bin", details={"deflate": "always"})
        made += [plain, streamed, deflated]
    return made


def unpacked(path: Path, goal: Path) -> dict[str, bytes]:
    """What 7-Zip makes of an archive."""
    ran(program("7z"), "x", "-bd", f"-p{PASSWORD}", f"-o{goal}", path)
    return {str(each.relative_to(goal)): each.read_bytes() for each in goal.rglob("*") if each.is_file()}


@pytest.mark.contract("archive-3.16")
def test_other_programs_read_every_content_with_the_password_only(tmp_path: Path) -> None:
    plan = Plan(tuple(entries()), b"under a password")
    path = tmp_path / "a.zip"
    path.write_bytes(b"".join(send(plan, SOURCES, password=PASSWORD)))

    found = unpacked(path, tmp_path / "out")

    contents = {each.name: each.body for each in plan.entries if not each.is_directory}
    assert found == contents
    ran(program("7z"), "t", "-bd", "-pwrong", path, code=2)
    ran(program("bsdtar"), "-xOf", path, "--passphrase", PASSWORD, "d/é 65535.bin")


@pytest.mark.contract("archive-3.16")
def test_length_is_known_and_28_bytes_more_for_each_content() -> None:
    known = tuple(each for each in entries() if each.form is not Form.ENCRYPTED_STREAMED)
    plain = Plan(tuple(replace(each, form=Form.STORED) for each in known))
    plan = Plan(known)

    data = b"".join(send(plan, SOURCES, password=PASSWORD))

    assert (plan.is_sized, plan.is_resumable, plan.etag) == (True, False, None)
    assert len(data) == plan.total_bytes == (plain.total_bytes or 0) + (OVERHEAD_BYTES + 2 * 11) * len(SIZES)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
    assert {(info.compress_type, info.CRC, info.flag_bits & 1, info.extract_version) for info in infos} == {
        (99, 0, 1, 51)
    }
    assert data != b"".join(send(plan, SOURCES, password=PASSWORD))  # salts are never used again
    with pytest.raises(InvalidDocumentError, match="password"):
        send(plan, SOURCES)


@pytest.mark.parametrize("limit", [65_535 + 27, 65_535 + 28, 65_535 + 29, 200_000, 200_028, 200_029, 300_000])
def test_length_is_right_around_the_limit_of_32_bits(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("zip_format", "zip_layout"):
        monkeypatch.setattr(f"meteorpi_server.archiving.{module}.FULL_32", limit)
    plan = Plan(tuple(each for each in entries() if each.form is not Form.ENCRYPTED_STREAMED))

    data = b"".join(send(plan, SOURCES, password=PASSWORD))

    assert len(data) == plan.total_bytes


@pytest.mark.contract("archive-3.16", "archive-3.6/options", "archive-3.3/logs")
def test_password_is_asked_for_once_and_found_nowhere(
    archive_node: ArchiveNode, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    archive_node.add_files()

    made = archive_node.ticket(EVERYTHING, password=PASSWORD, password_hint="of the cave")
    answer = archive_node.get(made["href"], headers={"Range": "bytes=0-9"})
    state = archive_node.get(made["status_href"]).json

    assert (made["sized"], made["resumable"], made["etag"]) == (True, False, None)
    assert (answer.status_code, answer.headers["Accept-Ranges"]) == (200, "none")
    assert len(answer.data) == made["bytes"]
    (tmp_path / "a.zip").write_bytes(answer.data)
    found = unpacked(tmp_path / "a.zip", tmp_path / "out")
    assert len(found) == 4
    assert b"meteorpi-archive-manifest" in found["MANIFEST.json"]  # which stands under it, too
    assert state is not None
    assert state["password_hint"] == "of the cave"
    with archive_node.db.transactions.reading() as connection:
        kept = [str(row) for table in TABLES for row in connection.execute(select(table))]
    told = [answer.headers, made, state, caplog.text, *kept]
    assert not any(PASSWORD in str(each) or PASSWORD.encode().hex() in str(each) for each in told)


@pytest.mark.contract("archive-3.16", "archive-3.15/auto")
def test_what_shrinks_is_deflated_before_it_is_encrypted(archive_node: ArchiveNode, tmp_path: Path) -> None:
    archive_node.add_file(b"one more meteor\n" * 5000, file_name="track.txt")

    made = archive_node.ticket(EVERYTHING, password=PASSWORD, compression="auto", manifest=False)
    answer = archive_node.get(made["href"])

    assert len(answer.data) < 5000
    (tmp_path / "a.zip").write_bytes(answer.data)
    assert list(unpacked(tmp_path / "a.zip", tmp_path / "out").values()) == [b"one more meteor\n" * 5000]


@pytest.mark.contract("archive-3.16")
def test_nothing_is_encrypted_where_the_library_is_missing(
    archive_node: ArchiveNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_node.add_files()
    monkeypatch.setattr("meteorpi_server.archive_api.passwords.is_offered", lambda: False)

    answer = archive_node.generate(EVERYTHING, {"password": PASSWORD})

    assert answer.status_code == 422
    assert "meteorpi[archive]" in answer.text
    assert PASSWORD not in answer.text


@pytest.mark.contract("archive-3.16")
@pytest.mark.parametrize(
    ("options", "member"),
    [
        ({"password": ""}, "password"),
        ({"password": 12345678}, "password"),
        ({"password": "a\nb"}, "password"),
        ({"password": "é" * 300}, "password"),
        ({"password_hint": "of the cave"}, "password_hint"),
        ({"password": "sesame", "password_hint": "It is Sesame"}, "password_hint"),
        ({"password": "sesame", "password_hint": "x" * 201}, "password_hint"),
    ],
)
def test_password_that_cannot_be_used_is_refused_and_not_repeated(
    archive_node: ArchiveNode, options: dict[str, object], member: str
) -> None:
    archive_node.add_files()

    answer = archive_node.generate(EVERYTHING, options)

    assert answer.status_code == 422
    assert answer.json is not None
    assert list(answer.json["errors"]["json"]["options"]) == [member]
    assert "12345678" not in answer.text


@pytest.mark.contract("archive-3.16")
def test_one_file_as_it_is_has_no_password(archive_node: ArchiveNode) -> None:
    record = archive_node.add_files(1)[0]
    assert record.file_id is not None

    answer = archive_node.generate([{"record": record.file_id.hex}], {"password": "x"}, type="stream")

    assert answer.status_code == 422


def test_archive_whose_password_cannot_be_read_is_refused(
    archive_node: ArchiveNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_node.add_files()
    made = archive_node.ticket(EVERYTHING, password=PASSWORD)
    monkeypatch.setattr(archive_node.db, "secret_box", SecretBox(tmp_path / "another key"))

    assert archive_node.get(made["href"]).status_code == 503
    assert archive_node.get(made["status_href"]).status_code == 200


def test_password_is_refused_where_it_cannot_be_kept(
    archive_node: ArchiveNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_node.add_files()

    def fail(_text: str) -> str:
        raise ConfigurationError("there is no place for the key")

    sealing: Callable[[str], str] = fail
    monkeypatch.setattr(archive_node.db.secret_box, "seal", sealing)

    answer = archive_node.generate(EVERYTHING, {"password": PASSWORD}, basic("visitor"))

    assert answer.status_code == 422
