"""``meteorpi store``: what each command prints, and how it ends."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.filestore.s3 import S3FileStore
from meteorpi_db.testing.object_servers import ACCESS_KEY, SECRET_KEY, ObjectServer
from meteorpi_server.cli.parameters import read_size
from tests.cli.conftest import Meteorpi, add_file


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


@pytest.mark.parametrize(("text", "size"), [("1", 1), ("500k", 500_000), ("2.5M", 2_500_000), ("1G", 10**9)])
def test_sizes_are_read(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "-1", "0", "0.1", "1 M", "1T", "0x10"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a number of bytes"):
        read_size(text)
