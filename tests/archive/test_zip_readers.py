"""Programs of others read every archive: by its directory, and from front to back as it arrives.

Source:
    Section 6.1 of the archive contract.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from meteorpi_server.archiving import Entry, Form, Plan
from meteorpi_server.archiving.sending import send
from tests.archive.plans import (
    MTIME,
    SOURCES,
    archive,
    directory_entry,
    filling,
    plans,
    random_plan,
    text_entry,
    without_crcs,
)
from tests.components import absent

JAVA = Path(__file__).parent / "java" / "ReadZips.java"
SIZES = (0, 1, 65_535, 65_536, 200_000)


def run(program: str, *arguments: object, stdin: bytes | None = None) -> bytes:
    """What `program` says of an archive; a failure when it is not content."""
    if shutil.which(program) is None:
        absent(f"{program} is not installed")
    done = subprocess.run(
        [program, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def of_every_form(*forms: Form) -> list[Entry]:
    entries = [
        text_entry(f"{form}/é {size}.bin", filling(size, size % 97), form, mtime=MTIME + size)
        for form in forms
        for size in SIZES
    ]
    return [*entries, directory_entry("empty"), text_entry("last.txt", b"the end")]


def streamed(entry: Entry, *, is_deflated: bool) -> Entry:
    """`entry` as if nobody knew its length."""
    return replace(
        entry, name=f"streamed-{is_deflated}/{entry.name}", form=Form.STREAMED, size=None, crc=None,
        details={"deflate": "always"} if is_deflated else {},
    )  # fmt: skip


def samples() -> dict[str, Plan]:
    fixed = of_every_form(Form.STORED, Form.BLOCKS, Form.DEFLATED)
    plain = [each for each in of_every_form(Form.STORED) if not each.is_directory]
    return {
        "none": Plan(()),
        "fixed": Plan(tuple(fixed)),
        "blocks-first": Plan(tuple(reversed(of_every_form(Form.BLOCKS)))),
        "first-pass": without_crcs(Plan(tuple(fixed))),
        "streamed": Plan(tuple(streamed(each, is_deflated=way) for way in (False, True) for each in plain)),
        "65535-entries": Plan(tuple(text_entry(f"{number:06d}") for number in range(65_535))),
    }


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Plan]:
    directory = tmp_path_factory.mktemp("archives")
    written = {}
    for name, plan in samples().items():
        path = directory / f"{name}.zip"
        path.write_bytes(archive(plan))
        written[path] = plan
    return written


def contents(plan: Plan) -> list[tuple[str, bytes]]:
    return [(each.name, inflated(each)) for each in plan.entries]


def inflated(entry: Entry) -> bytes:
    is_deflated = entry.form is Form.DEFLATED
    return zlib.decompress(entry.body, -zlib.MAX_WBITS) if is_deflated else entry.body


@pytest.mark.contract("archive-6.1", "archive-4.4")
def test_standard_library_reads_every_content(archives: dict[Path, Plan]) -> None:
    for path, plan in archives.items():
        with zipfile.ZipFile(path) as found:  # whatever it reads it checks
            assert [(each.filename, found.read(each)) for each in found.infolist()] == contents(plan)


@pytest.mark.contract("archive-6.1")
@settings(max_examples=40)
@given(plan=plans())
def test_standard_library_reads_any_plan(plan: Plan) -> None:
    with zipfile.ZipFile(io.BytesIO(archive(plan))) as found:
        assert [(each.filename, found.read(each)) for each in found.infolist()] == contents(plan)


@pytest.mark.contract("archive-6.1")
def test_unzip_finds_no_fault(archives: dict[Path, Plan]) -> None:
    for path, plan in archives.items():
        if plan.entries:  # of an archive without entries it warns, with status 1
            run("unzip", "-tqq", path)
            listed = run("zipinfo", "-1", path).decode()
            assert listed.splitlines() == [each.name for each in plan.entries]


@pytest.mark.contract("archive-6.1", "archive-3.13/times", "archive-3.13/attributes", "archive-3.13/names")
def test_unzip_unpacks_names_times_and_attributes(archives: dict[Path, Plan], tmp_path: Path) -> None:
    path, plan = next((path, plan) for path, plan in archives.items() if path.stem == "fixed")

    run("unzip", "-qq", path, "-d", tmp_path)

    for entry in plan.entries:
        found = (tmp_path / entry.name).stat()
        assert found.st_mtime == entry.mtime
        assert found.st_mode & 0o777 == (0o755 if entry.is_directory else 0o644)
        assert entry.is_directory or (tmp_path / entry.name).read_bytes() == inflated(entry)


@pytest.mark.contract("archive-6.1")
def test_7z_finds_no_fault(archives: dict[Path, Plan]) -> None:
    for path in archives:
        run("7z", "t", "-bd", path)


@pytest.mark.contract("archive-6.1", "archive-defect-24")
def test_bsdtar_reads_every_content_from_a_pipe(archives: dict[Path, Plan]) -> None:
    for path, plan in archives.items():
        if plan.entries:
            unpacked = run("bsdtar", "-xOf", "-", stdin=path.read_bytes())
            assert unpacked == b"".join(content for _, content in contents(plan))


@pytest.mark.contract("archive-6.1", "archive-defect-24")
def test_java_reads_every_content_by_directory_and_as_a_stream(archives: dict[Path, Plan]) -> None:
    expected = [
        f"{path.name} {reader} {zlib.crc32(content):08x} {len(content)} {name.encode().hex()}"
        for path, plan in archives.items()
        for reader in ("directory", "stream")
        for name, content in contents(plan)
    ]

    assert read_by_java(list(archives)) == expected


def read_by_java(paths: Sequence[Path]) -> list[str]:
    # Without the options that make long runs fast, a short one is.
    options = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
    return run("java", *options, JAVA, *paths).decode().splitlines()


@pytest.mark.contract("archive-6.1", "archive-defect-24")
def test_every_reader_takes_random_plans(tmp_path: Path) -> None:
    chance = random.Random(20151213)
    expected = []
    for number in range(40):
        plan = random_plan(chance)
        path = tmp_path / f"{number:02d}.zip"
        path.write_bytes(archive(plan))
        unpacked = [content for _, content in contents(plan)]
        expected += [f"{zlib.crc32(content):08x}" for content in unpacked * 2]
        run("unzip", "-tqq", path)
        assert run("bsdtar", "-xOf", "-", stdin=path.read_bytes()) == b"".join(unpacked)

    found = read_by_java(sorted(tmp_path.iterdir()))

    assert [line.split()[2] for line in found] == expected


@pytest.mark.contract("archive-6.1", "archive-4.3")
def test_unzip_lists_a_sparse_archive_of_more_than_4_gib(tmp_path: Path) -> None:
    """The content is a hole, so that only what frames it takes room; its CRC is that of zeros."""
    entries = (
        text_entry("first.txt", b"first"),
        text_entry("big.bin", size=(1 << 32) + 5, crc=0),
        text_entry("last.txt", b"last"),
    )
    plan = Plan(entries)
    path = tmp_path / "sparse.zip"
    with path.open("wb") as file:
        for piece in plan.layout.pieces():
            if isinstance(piece, bytes):
                file.write(piece)
            elif plan.entries[piece.index].body:
                file.write(plan.entries[piece.index].body)
            else:
                file.seek(piece.stop, os.SEEK_CUR)

    assert run("unzip", "-p", path, "last.txt") == b"last"
    assert run("bsdtar", "-tf", path).split() == [b"first.txt", b"big.bin", b"last.txt"]
    assert b"Size = 4294967301" in run("7z", "l", "-slt", path)


@pytest.mark.contract("archive-6.1")
@given(plan=plans(forms=(Form.STORED,)))
@settings(max_examples=20)
def test_chunks_never_exceed_what_was_asked_for(plan: Plan) -> None:
    chunks = list(send(plan, SOURCES, chunk_bytes=1000))

    assert all(0 < len(each) <= 1000 for each in chunks)
    assert b"".join(chunks) == archive(plan)
