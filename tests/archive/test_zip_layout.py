"""The bytes of an archive, known beforehand: the vectors of the contract, and every limit."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile

import pytest
from hypothesis import given, settings

from meteorpi_model.errors import InvalidDocumentError
from meteorpi_server.archiving import Entry, Form, Plan, ZipLayout
from meteorpi_server.archiving.stored_blocks import stored_length
from meteorpi_server.archiving.zip_format import FULL_32
from tests.archive.plans import archive, directory_entry, planned, plans, text_entry, without_crcs

KIBIBYTE = bytes(range(256)) * 4


def sha256(plan: Plan) -> str:
    return hashlib.sha256(archive(plan)).hexdigest()


@pytest.mark.contract("archive-4.7", "archive-4.3")
def test_archive_of_nothing_is_the_end_record_alone() -> None:
    plan = Plan(())

    assert plan.total_bytes == 22
    assert sha256(plan) == "8739c76e681f900923b900c9df0ef75cf421d39cabb54650c4b9ad19b6a76d85"


@pytest.mark.contract("archive-4.7", "archive-4.1", "archive-4.2", "archive-6.1")
def test_three_small_files_are_the_bytes_of_the_contract() -> None:
    contents = {"a.txt": b"hello", "nuit/é.bin": b"", "nuit/raw.bin": KIBIBYTE}
    plan = Plan(tuple(text_entry(name, content) for name, content in contents.items()))
    first = (
        "504b0304 1400 0008 0000 d44d 8d47 86a61036 05000000 05000000 0500 0900"
        "612e747874 5554 0500 01 803e6d56 68656c6c6f"
    )

    assert plan.total_bytes == 1389
    assert list(plan.layout.starts) == [0, 49, 99, 1174]
    assert plan.layout.directory_bytes == 193
    assert [entry.crc for entry in plan.entries] == [0x3610A686, 0, 0xB70B4C26]
    assert archive(plan)[:49] == bytes.fromhex(first)
    assert sha256(plan) == "0c6656eaa82f3129a6930ea4ac8df999712f891734459f74fbd4520a3742b89c"


@pytest.mark.contract("archive-4.7", "archive-4.3", "archive-6.1")
@pytest.mark.parametrize(
    ("count", "total", "digest"),
    [
        (65_534, 6_946_626, "d9131377fc8aed4105626fa2b1f7506f9707fe4319ce9a39fb3db9cfd9bdb732"),
        (65_535, 6_946_808, "5fb069f24b915c6ab68330a011a9703ad8cddaa0ad1d168eda71c2ed45065a0e"),
    ],
)
def test_many_entries_are_counted_in_64_bits(count: int, total: int, digest: str) -> None:
    plan = Plan(tuple(text_entry(f"{number:06d}") for number in range(count)))

    assert plan.total_bytes == total
    assert sha256(plan) == digest


@pytest.mark.contract("archive-4.7", "archive-4.1", "archive-4.2", "archive-4.5")
@pytest.mark.parametrize(
    ("size", "starts", "directory_bytes", "total"),
    [
        (0xFFFFFFFE, [0, 4294967340, 4294967385], 134, 4294967617),
        (0xFFFFFFFF, [0, 4294967361, 4294967406], 154, 4294967658),
    ],
)
def test_sizes_are_wide_from_the_marker_on(
    size: int, starts: list[int], directory_bytes: int, total: int
) -> None:
    layout = ZipLayout([planned("big.bin", size), planned("z.txt", 1)])

    assert list(layout.starts) == starts
    assert layout.directory_bytes == directory_bytes
    assert layout.total == total


@pytest.mark.contract("archive-4.7", "archive-4.3")
def test_entries_behind_a_huge_one_have_wide_offsets() -> None:
    entries = [planned("huge.bin", 5 << 30), *(planned(f"after{number}.txt", 8) for number in (1, 2, 3))]

    layout = ZipLayout(entries)

    assert list(layout.starts)[:4] == [0, 5368709187, 5368709244, 5368709301]
    assert layout.total == 5368709770


@pytest.mark.contract("archive-4.7", "archive-4.4")
@pytest.mark.parametrize(("size", "length"), [(0, 5), (65535, 65540), (65536, 65546), (200000, 200020)])
def test_blocks_have_a_length_known_beforehand(size: int, length: int) -> None:
    assert stored_length(size) == length


@pytest.mark.contract("archive-4.2", "archive-4.3", "archive-4.5")
@pytest.mark.parametrize("form", [Form.STORED, Form.BLOCKS, Form.DEFLATED])
@pytest.mark.parametrize("size", [FULL_32 - 400_000, FULL_32 - 2, FULL_32 - 1, FULL_32, FULL_32 + 1, 5 << 30])
def test_standard_library_finds_every_entry_around_4_gib(form: Form, size: int) -> None:
    """The contents stay away: headers, directory and end are what a reader of a sparse file sees."""
    stored = {"stored_size": size - 1} if form is Form.DEFLATED else {}
    entries = [
        planned("before.txt", 3),
        planned("big.bin", size, form=form, **stored),
        planned("after.txt", 3),
    ]
    layout = ZipLayout(entries)

    with zipfile.ZipFile(SparseArchive(layout)) as found:
        infos = found.infolist()

    assert [each.header_offset for each in infos] == list(layout.starts)[:3]
    assert [each.file_size for each in infos] == [3, size, 3]
    assert {each.extract_version for each in infos if each.header_offset >= FULL_32} <= {45}


class SparseArchive(io.RawIOBase):
    """The archive of a layout, with zeros for contents."""

    def __init__(self, layout: ZipLayout) -> None:
        self._layout = layout
        self._position = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + (0, self._position, self._layout.total)[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        left = self._layout.total - self._position
        stop = self._position + (left if size < 0 else min(size, left))
        pieces = self._layout.pieces(self._position, stop)
        self._position = stop
        return b"".join(each if isinstance(each, bytes) else bytes(each.stop - each.start) for each in pieces)


@pytest.mark.contract("archive-4.1", "archive-3.13/attributes")
def test_directories_have_no_content_and_their_own_attributes() -> None:
    whole = archive(Plan((directory_entry("night"), text_entry("night/a.txt", b"a"))))

    with zipfile.ZipFile(io.BytesIO(whole)) as found:
        night, file = found.infolist()

    assert night.is_dir()
    assert (night.file_size, night.CRC, night.compress_type, night.create_system) == (0, 0, 0, 3)
    assert (night.external_attr, file.external_attr) == ((0o040755 << 16) | 0x10, 0o100644 << 16)


@pytest.mark.contract("archive-4.1", "archive-3.13/names")
def test_names_are_said_to_be_utf_8_in_both_headers() -> None:
    whole = archive(Plan((text_entry("a.txt"), text_entry("é.txt"))))

    with zipfile.ZipFile(io.BytesIO(whole)) as found:
        flags = [each.flag_bits for each in found.infolist()]

    assert flags == [0x0800, 0x0800]
    assert whole[6:8] == b"\x00\x08"


@pytest.mark.contract("archive-4.4", "archive-defect-24")
def test_what_is_stored_never_has_a_descriptor() -> None:
    plan = Plan(
        tuple(text_entry(f"{form}", b"x", form) for form in (Form.STORED, Form.BLOCKS, Form.DEFLATED))
    )

    with zipfile.ZipFile(io.BytesIO(archive(plan))) as found:
        forms = [(each.compress_type, bool(each.flag_bits & 8)) for each in found.infolist()]

    assert forms == [(0, False), (8, True), (8, False)]


@pytest.mark.contract("archive-4.4")
def test_blocks_have_nothing_in_the_first_header_and_all_behind() -> None:
    whole = archive(Plan((text_entry("a", b"x", Form.BLOCKS),)))
    behind = 30 + 1 + 9 + 6

    assert whole[14:26] == bytes(12)
    assert whole[behind : behind + 16] == struct.pack("<4s3I", b"PK\7\b", 0x8CDC1683, 6, 1)


@pytest.mark.contract("archive-4.4")
@settings(max_examples=30)
@given(plan=plans())
def test_first_pass_over_unknown_checksums_gives_the_bytes_of_every_later_one(plan: Plan) -> None:
    first_pass = without_crcs(plan)

    assert first_pass.total_bytes == plan.total_bytes
    assert archive(first_pass) == archive(plan)


def test_comment_ends_the_archive() -> None:
    with zipfile.ZipFile(io.BytesIO(archive(Plan((), "Nuit étoilée".encode())))) as found:
        assert found.comment.decode() == "Nuit étoilée"


@pytest.mark.parametrize(
    "entry",
    [
        planned("a", 1, crc=None),
        planned("a", 1, form=Form.STREAMED),
        planned("a", 1, form=Form.DEFLATED),
        planned("a", None),
        planned("é" * 32768, 1),
    ],
)
def test_entries_without_a_length_or_a_place_are_refused(entry: Entry) -> None:
    with pytest.raises(InvalidDocumentError):
        ZipLayout([entry])


def test_comment_that_no_zip_can_hold_is_refused() -> None:
    with pytest.raises(InvalidDocumentError):
        ZipLayout([], bytes(65_536))


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (2, 1), (0, 23), (23, 23)])
def test_ranges_outside_the_archive_are_refused(start: int, stop: int) -> None:
    with pytest.raises(InvalidDocumentError):
        list(ZipLayout([]).pieces(start, stop))
