"""Reading archives: what is damaged, and what is not as the manifest says."""

from __future__ import annotations

import json
import random
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED

import pytest

from meteorpi_client import ArchiveReport, check_archive
from tests.archive.made_archives import NAMES, archive_of, contents, manifest_of

FILES = contents(3000)
WHOLE = archive_of(FILES, manifest_of(FILES))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "night.zip"


def checked(path: Path, data: bytes) -> ArchiveReport:
    path.write_bytes(data)
    return check_archive(path)


def names(findings: object) -> list[str]:
    assert isinstance(findings, list)
    return [finding.name for finding in findings]


@pytest.mark.contract("archive-3.20/verify")
@pytest.mark.parametrize("compression", [ZIP_STORED, ZIP_DEFLATED])
def test_archive_that_is_as_its_manifest_says_is_right(path: Path, compression: int) -> None:
    told: list[tuple[int, int | None]] = []
    path.write_bytes(archive_of(FILES, manifest_of(FILES), compression))

    report = check_archive(path, lambda here, size: told.append((here, size)))

    assert report.is_right
    assert report.has_manifest
    assert report.entries == len(FILES) + 1
    assert told[-1] == (report.size_bytes, report.size_bytes)
    assert report.size_bytes > sum(map(len, FILES.values()))


def test_archive_without_a_manifest_is_read_all_the_same(path: Path) -> None:
    report = checked(path, archive_of(FILES))

    assert report.is_right
    assert not report.has_manifest


def test_empty_archive_is_whole(path: Path) -> None:
    report = checked(path, archive_of({}))

    assert (report.is_right, report.entries) == (True, 0)


@pytest.mark.contract("archive-3.20/verify")
@pytest.mark.parametrize("name", NAMES)
def test_changed_byte_of_an_entry_is_found(path: Path, name: str) -> None:
    place = WHOLE.index(FILES[name]) + 1000
    data = bytearray(WHOLE)
    data[place] ^= 1

    report = checked(path, bytes(data))

    assert not report.is_intact
    assert names(report.damage) == [name]


@pytest.mark.contract("archive-3.20/verify")
def test_cut_archive_is_not_whole_wherever_it_was_cut(path: Path) -> None:
    for length in (0, 1, 30, 5000, len(WHOLE) - 22, len(WHOLE) - 1):
        report = checked(path, WHOLE[:length])
        assert not report.is_intact, length


def test_any_change_is_survived(path: Path) -> None:
    """Damage may be anywhere; whatever it does, the answer is a report."""
    noise = random.Random(16)
    for _ in range(1000):
        data = bytearray(WHOLE)
        for _ in range(noise.randint(1, 8)):
            place = noise.randrange(len(data)) if noise.random() < 0.5 else -noise.randint(1, 400)
            data[place] = noise.randrange(256)

        report = checked(path, bytes(data))

        assert report.is_intact == (not report.damage)


@pytest.mark.contract("archive-3.20/verify")
def test_what_differs_from_the_manifest_is_told(path: Path) -> None:
    said = manifest_of(FILES | {"cam/gone.jpg": b"x"})
    held = FILES | {NAMES[0]: b"another", "cam/more.jpg": b"y"}

    report = checked(path, archive_of(held, said))

    assert report.is_intact
    assert not report.is_right
    assert names(report.differences) == [NAMES[0]] * 3 + ["cam/gone.jpg", "cam/more.jpg"]
    assert [finding.reason.split()[1] for finding in report.differences[:3]] == ["size", "crc32", "md5"]


@pytest.mark.contract("archive-3.20/verify")
def test_what_was_left_out_is_told_and_is_no_difference(path: Path) -> None:
    said = manifest_of(FILES, skipped=[{"index": 3, "file_id": "ab" * 16, "reason": "not here yet"}])

    report = checked(path, archive_of(FILES, said))

    assert report.is_right
    assert [(each.name, each.reason) for each in report.left_out] == [("ab" * 16, "not here yet")]


@pytest.mark.contract("archive-3.20/verify")
@pytest.mark.parametrize("name", ["_ERRORS.json", "_ERRORS (2).json"])
def test_what_failed_while_the_archive_was_made_is_told(path: Path, name: str) -> None:
    failed = {"index": 4, "name": "c.jpg", "reason": "status", "detail": "the source answered 404"}
    held = FILES | {name: json.dumps({"errors": [failed]}).encode()}

    report = checked(path, archive_of(held, manifest_of(FILES | {"c.jpg": b"x"})))

    assert report.is_intact
    assert not report.is_right
    assert report.differences == []
    assert [(each.name, each.reason) for each in report.failed] == [("c.jpg", "the source answered 404")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": 2},
        {"version": None},
        {"entries": {}},
        {"entries": [1]},
        {"entries": [{"size": 1}]},
        {"entries": [{"name": "a", "size": -1}]},
        {"entries": [{"name": "a", "crc32": 1 << 32}]},
        {"entries": [], "skipped": "all"},
    ],
)
def test_manifest_that_cannot_be_used_is_a_difference(path: Path, wrong: dict[str, object]) -> None:
    report = checked(path, archive_of({}, manifest_of({}) | wrong))

    assert report.is_intact
    assert names(report.differences) == ["MANIFEST.json"]


@pytest.mark.parametrize("name", ["MANIFEST.json", "_ERRORS.json"])
@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b'{"errors": 1}', b"\xff", b"[" * 100_000])
def test_file_that_only_has_the_name_is_a_file(path: Path, name: str, text: bytes) -> None:
    report = checked(path, archive_of({name: text}))

    assert (report.is_right, report.has_manifest) == (True, False)


@pytest.mark.contract("archive-3.20/verify")
@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/a", "\\a", "a\\..\\b", "C:a"])
def test_name_that_leads_out_of_the_folder_is_damage(path: Path, name: str) -> None:
    assert names(checked(path, archive_of({name: b"x"})).damage) == [name]


def test_two_entries_of_one_name_are_damage(path: Path) -> None:
    assert names(checked(path, archive_of({"A.jpg": b"x", "a.JPG": b"y"})).damage) == ["a.JPG"]
