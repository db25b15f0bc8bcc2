"""``meteorpi store``: what each command prints, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from meteorpi_db import MeteorDatabase, NewFile
from meteorpi_db.filestore.s3 import S3FileStore
from meteorpi_db.testing.object_servers import ACCESS_KEY, SECRET_KEY, ObjectServer
from meteorpi_db.testing.processes import free_port, wait_until
from meteorpi_model import NSString
from meteorpi_model.errors import CorruptContentError
from meteorpi_server import MeteorServer
from meteorpi_server.cli.parameters import read_size
from tests.cli.conftest import OWN_CAMERA, START, Meteorpi, add_file, add_status
from tests.cli.processes import command


def id_of(node: MeteorDatabase, minute: int, content: bytes) -> UUID:
    file_id = add_file(node, minute, content).file_id
    assert file_id is not None
    return file_id


def tear(node: MeteorDatabase, file_id: UUID, content: bytes) -> None:
    """Change bytes behind the back of the node."""
    path = node.file_path_for_id(file_id)
    path.chmod(0o600)
    path.write_bytes(content)


@pytest.mark.contract("B.6/check")
def test_check_tries_everything_and_leaves_nothing(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    done = meteorpi("store", "check", "--json")

    assert (done.code, done.json["clean"], done.json["trouble"]) == (0, True, [])
    assert set(done.json["milliseconds"]) == {"reach", "write", "read", "delete"}
    assert "persistent" in done.json["capabilities"]
    assert abs(done.json["skew_seconds"]) < 60
    assert list(node.store.ids()) == []


@pytest.mark.contract("B.6/check", "S-112")
def test_check_of_a_bucket_tells_the_clock_of_the_service_and_no_key(
    meteorpi: Meteorpi, rclone_server: ObjectServer
) -> None:
    bucket = rclone_server.make_bucket()
    url = f"s3://{ACCESS_KEY}:{SECRET_KEY}@{bucket}/node?endpoint={rclone_server.endpoint}"

    done = meteorpi("store", "check", url, "--json")

    assert (done.code, done.json["clean"]) == (0, True)
    assert abs(done.json["skew_seconds"]) < 60
    assert bucket in done.out
    assert SECRET_KEY not in done.out + done.err
    assert list(S3FileStore(rclone_server.options(bucket, prefix="node")).ids()) == []


@pytest.mark.contract("B.6/check")
def test_check_finds_a_store_that_is_not_there(meteorpi: Meteorpi, home: Path) -> None:
    done = meteorpi("store", "check", home / "nothing", "--json")

    assert (done.code, done.json["clean"], len(done.json["trouble"])) == (1, False, 1)
    assert not (home / "nothing").exists()


@pytest.mark.contract("B.6/check", "B.6/copy")
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "gopher://somewhere"],
        ["copy", "nothing", "files"],
        ["copy", "files", "gopher://somewhere"],
        ["copy", "files"],
        ["copy", "files", "other", "--rate", "fast"],
        ["copy", "files", "other", "--rate", "0"],
        ["verify", "--since", "24h"],
        ["verify", "--fast", "--sample", "5"],
        ["verify", "--deep", "--from", "nothing"],
        ["sweep", "--grace-hours", "-1"],
    ],
)
def test_what_could_not_run_ends_with_2(
    meteorpi: Meteorpi, node: MeteorDatabase, arguments: list[str]
) -> None:
    done = meteorpi("store", *arguments)

    assert (done.code, done.out) == (2, "")
    assert "rror: " in done.err


@pytest.mark.contract("B.6/copy", "S-111")
def test_copy_moves_a_node_to_a_bucket_and_leaves_out_what_is_damaged(
    meteorpi: Meteorpi, node: MeteorDatabase, moto_server: ObjectServer
) -> None:
    kept, damaged = id_of(node, 1, b"kept"), id_of(node, 2, b"damaged")
    tear(node, damaged, b"DAMAGED")
    bucket = moto_server.make_bucket()
    url = f"s3://{ACCESS_KEY}:{SECRET_KEY}@{bucket}?endpoint={moto_server.endpoint}"

    done = meteorpi("store", "copy", "files", url, "--compare-records", "--rate", "10M", "--json")

    assert (done.code, done.json["copied"], done.json["damaged"]) == (1, 1, [damaged.hex])
    assert list(S3FileStore(moto_server.options(bucket)).ids()) == [kept]
    tear(node, damaged, b"damaged")
    again = meteorpi("store", "copy", "files", url, "--compare-records", "--deep", "--json")
    assert (again.code, again.json["copied"], again.json["held"]) == (0, 1, 1)
    assert meteorpi("--file-store", url, "verify", "--deep").code == 0


@pytest.mark.contract("B.6/copy")
def test_copy_that_is_told_to_end_says_so_and_leaves_nothing_half_done(
    node: MeteorDatabase, home: Path
) -> None:
    id_of(node, 1, b"content that would take hours" * 1000)
    copying = command("store", "copy", "files", "spare", "--rate", "1", "--json")

    with subprocess.Popen(copying, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: any((home / "spare").glob(".incoming-*")), 60, "the copy")
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()

    assert (process.returncode, json.loads(out)["interrupted"]) == (130, True)
    assert list((home / "spare").iterdir()) == []


@pytest.mark.contract("B.6/verify", "S-140")
def test_verify_marks_what_is_damaged_and_mends_it_from_another_store(
    meteorpi: Meteorpi, node: MeteorDatabase, home: Path
) -> None:
    file_id = id_of(node, 1, b"content")
    id_of(node, 2, b"another")
    assert meteorpi("store", "copy", "files", "spare").code == 0
    tear(node, file_id, b"CONTENT")

    assert meteorpi("store", "verify", "--fast").code == 0
    looked = meteorpi("store", "verify", "--deep", "--dry-run", "--json")
    assert (looked.code, looked.json["torn"]) == (1, [file_id.hex])
    assert node.content_facts(file_id).size == 7
    found = meteorpi("store", "verify", "--deep", "--json")
    assert (found.code, found.json["torn"], found.json["mended"]) == (1, [file_id.hex], [])
    with pytest.raises(CorruptContentError):
        node.content_facts(file_id)
    mended = meteorpi("store", "verify", "--deep", "--rate", "10M", "--from", home / "spare", "--json")

    assert (mended.code, mended.json["mended"], mended.json["read_bytes"]) == (0, [file_id.hex], 7)
    assert b"".join(node.open_content(file_id)) == b"content"


@pytest.mark.contract("S-140", "B.6/verify")
def test_verify_mends_from_another_node(meteorpi: Meteorpi, node: MeteorDatabase, home: Path) -> None:
    file_id, nowhere = id_of(node, 1, b"content"), id_of(node, 2, b"another")
    there = MeteorServer(str(home / "there.db"), str(home / "there"), 0)
    add_status(there.db)
    new = NewFile(
        mime_type="image/png", semantic_type=NSString("frame"), file_time=START, camera_id=OWN_CAMERA
    )
    there.db.add_file(new, [b"content"], file_id)
    stop = there.start_non_blocking()
    try:
        tear(node, file_id, b"CONTENT")
        tear(node, nowhere, b"ANOTHER")
        done = meteorpi("store", "verify", "--deep", "--from", there.base_url(), "--json")
    finally:
        stop()
        there.db.close()

    assert (done.code, done.json["mended"], done.json["torn"]) == (1, [file_id.hex], [nowhere.hex])
    assert b"".join(node.open_content(file_id)) == b"content"


def test_verify_does_not_begin_when_the_other_node_is_not_there(
    meteorpi: Meteorpi, node: MeteorDatabase
) -> None:
    file_id = id_of(node, 1, b"content")
    node.store.delete(file_id)

    done = meteorpi("store", "verify", "--from", f"http://127.0.0.1:{free_port()}")

    assert done.code == 2
    assert node.content_facts(file_id).size == 7  # not marked


@pytest.mark.contract("B.6/verify")
def test_verify_reads_a_sample_and_leaves_out_what_was_read(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    for minute in range(3):
        id_of(node, minute, b"content %d" % minute)

    assert meteorpi("store", "verify", "--deep", "--sample", 2, "--json").json["records"] == 2
    assert meteorpi("store", "verify", "--deep", "--since", "24h", "--json").json["records"] == 0
    assert meteorpi("store", "verify", "--deep", "--json").json["records"] == 3


@pytest.mark.contract("B.6/sweep", "B.6/stat")
def test_sweep_and_stat_of_what_nobody_recorded(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    kept, orphan = id_of(node, 1, b"kept"), uuid4()
    node.store.put(orphan, [b"orphan"])

    before = meteorpi("store", "stat", "--json")
    young = meteorpi("store", "sweep", "--json")
    tried = meteorpi("store", "sweep", "--grace-hours", "0", "--dry-run", "--json")
    swept = meteorpi("store", "sweep", "--grace-hours", "0", "--json")

    assert (before.code, before.json["contents"], before.json["files_recorded"]) == (0, 2, 1)
    assert (before.json["files_bytes"], before.json["files_never_verified"]) == (4, 1)
    assert (young.code, young.json["orphaned"], young.json["waiting"]) == (0, [], 1)
    assert (tried.code, tried.json["orphaned"]) == (1, [orphan.hex])
    assert (swept.code, swept.json["orphaned"], swept.json["freed_bytes"]) == (0, [orphan.hex], 6)
    assert list(node.store.ids()) == [kept]


@pytest.mark.contract("B.6/stat")
def test_stat_tells_of_what_is_known_to_be_damaged(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    node.mark_corrupt(id_of(node, 1, b"content"))

    done = meteorpi("store", "stat", "--json")

    assert (done.code, done.json["files_corrupt"]) == (1, 1)


@pytest.mark.parametrize(("text", "size"), [("1", 1), ("500k", 500_000), ("2.5M", 2_500_000), ("1G", 10**9)])
def test_sizes_are_read(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "-1", "0", "0.1", "1 M", "1T", "0x10"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a number of bytes"):
        read_size(text)
