"""Names in archives: safe on every system, told apart, the same on every node."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meteorpi_server.archiving.entry_names import (
    MAX_COMPONENT_BYTES,
    MAX_NAME_BYTES,
    Names,
    clean_name,
    decoded,
    name_of_url,
)

HOSTILE = st.text(st.sampled_from('/\\.: aAbé\0\n\r*?"<>|~$%e\u0301\u2028\udc80漢nulcom1'), max_size=40)


@pytest.mark.contract("archive-3.13/names", "archive-defect-10", "archive-6.7")
@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        ("../../etc/b.txt", "etc/b.txt"),
        ("/abs/c.txt", "abs/c.txt"),
        ("a//./b/../c", "a/b/c"),
        ("..\\..\\windows\\x", ".._.._windows_x"),
        ("C:\\a.txt", "C__a.txt"),
        ('a*b?c"d<e>f|g:h', "a_b_c_d_e_f_g_h"),
        ("line\r\nbreak\0.txt", "line__break_.txt"),
        ("ends. . /with. ", "ends/with"),
        ("...", "file-7"),
        ("", "file-7"),
        ("con.txt", "con_.txt"),
        ("AUX", "AUX_"),
        ("COM1 .x/lpt9", "COM1_.x/lpt9_"),
        ("contact.txt", "contact.txt"),
        ("e\u0301toile.fits", "\u00e9toile.fits"),
        ("not utf-8 \udce9.txt", "not utf-8 \ufffd.txt"),
        ("a+b 100%25.txt", "a+b 100%25.txt"),
        (".hidden", ".hidden"),
    ],
)
def test_names_are_cleaned(given_name: str, expected: str) -> None:
    assert clean_name(given_name, 7) == expected


@pytest.mark.contract("archive-3.13/names")
def test_long_names_keep_their_extension() -> None:
    component = clean_name("é" * 300 + ".fits", 0)
    whole = clean_name("/".join(["d" * 150] * 12) + "/last.fits", 0)

    assert component == "é" * 97 + ".fits"
    assert len(component.encode()) <= MAX_COMPONENT_BYTES
    assert whole.endswith("/last.fits")
    assert len(whole.encode()) <= MAX_NAME_BYTES


@pytest.mark.contract("archive-3.13/names", "archive-defect-10", "archive-6.7")
@given(text=HOSTILE | st.text(max_size=300), index=st.integers(0, 10**6))
def test_every_clean_name_is_safe_and_stays_as_it_is(text: str, index: int) -> None:
    name = clean_name(text, index)

    assert clean_name(name, index) == name
    assert unicodedata.is_normalized("NFC", name)
    assert len(name.encode()) <= MAX_NAME_BYTES
    assert not PurePosixPath(name).is_absolute()
    for part in name.split("/"):
        assert part not in ("", ".", "..")
        assert part == part.rstrip(". ")
        assert not set(part) & set('\\:*?"<>|')
        assert all(unicodedata.category(each) not in ("Cc", "Cs") for each in part)
        assert len(part.encode()) <= MAX_COMPONENT_BYTES
        assert not is_reserved(part)


def is_reserved(part: str) -> bool:
    stem = part.partition(".")[0].rstrip(" ").casefold()
    return stem in {"con", "prn", "aux", "nul"} or PureWindowsPath(stem).is_reserved()


@pytest.mark.contract("archive-3.13/names", "archive-defect-5", "archive-fpx/entry-name")
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://host.example/a/b%20c+d%2525.txt?q=1#f", "b c+d%25.txt"),
        ("http://host.example/a+b%20100%252525.txt", "a+b 100%2525.txt"),
        ("http://host.example/folder/", "folder"),
        ("http://host.example/", "host.example"),
        ("http://host.example:8080", "host.example"),
        ("http://host.example/%e9.txt", "\ufffd.txt"),
        ("http://host.example/..%2f..%2fetc", "../../etc"),
    ],
)
def test_names_of_urls_are_decoded_once(url: str, expected: str) -> None:
    assert name_of_url(url) == expected


def test_decoding_leaves_plus_signs_alone() -> None:
    assert decoded("1+1%3D2") == "1+1=2"


@pytest.mark.contract("archive-3.13/names", "archive-defect-4")
def test_later_one_of_two_equal_names_gets_a_number() -> None:
    names = Names()

    found = [
        names.of_file(name)
        for name in ("a.jpg", "A.JPG", "a.jpg", "b/a.jpg", "a (2).jpg", "x", "x", ".y", ".y")
    ]

    expected = ["a.jpg", "A (2).JPG", "a (3).jpg", "b/a.jpg", "a (2) (2).jpg", "x", "x (2)", ".y", ".y (2)"]
    assert found == expected


@pytest.mark.contract("archive-3.13/names", "archive-defect-4")
def test_no_file_has_the_name_of_a_directory() -> None:
    names = Names()

    found = [names.of_file(name) for name in ("a", "a/b", "a/c", "d/e", "d", "D/e")]

    assert found == ["a", "a (2)/b", "a (2)/c", "d/e", "d (2)", "D/e (2)"]
    assert names.of_directory("d") == "d/"
    assert names.of_directory("a") == "a (2)/"


def test_reserved_names_are_taken() -> None:
    names = Names(["MANIFEST.json"])

    assert names.is_taken("manifest.json")
    assert names.of_file("Manifest.json") == "Manifest (2).json"
    assert not names.is_taken("other.json")


def test_file_below_a_file_is_taken() -> None:
    names = Names()
    names.of_file("a")

    assert names.is_taken("a/b")


@pytest.mark.contract("archive-3.13/names", "archive-defect-4")
@given(wanted=st.lists(st.text(st.sampled_from("aAéÉ/. ()2"), min_size=1, max_size=6), max_size=30))
def test_names_of_an_archive_can_all_be_unpacked_anywhere(wanted: list[str]) -> None:
    def unpack() -> list[str]:
        names = Names()
        return [names.of_file(clean_name(text, index)) for index, text in enumerate(wanted)]

    found = unpack()

    keys = [unicodedata.normalize("NFC", name.casefold()) for name in found]
    directories = {str(parent) for key in keys for parent in PurePosixPath(key).parents} - {"."}
    assert len(set(keys)) == len(keys)
    assert not directories & set(keys)
    assert unpack() == found
