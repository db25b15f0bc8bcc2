"""The rules that need no database: names, conditions, quota."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meteorpi_db.blocks.conditions import Demands, matches
from meteorpi_db.blocks.names import checked_path, checked_prefix, is_block, tag_of
from meteorpi_db.blocks.quota import QuotaRule, Room, require_room
from meteorpi_model.errors import NotFoundError, PreconditionFailedError, QuotaReachedError
from tests.blocks.making import digest

HERE = digest(b"here")
TAG = tag_of(HERE)
OTHER = tag_of(digest(b"other"))
MIB = 1 << 20


@pytest.mark.contract("K-102")
@pytest.mark.parametrize("path", ["a", "a/b", "blocks/x-1_2.bin", "a..b", "...", "~", "x" * 1024])
def test_paths_that_are_good(path: str) -> None:
    assert checked_path(path) == path


@pytest.mark.contract("K-102")
@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "a/.",
        "ä",
        "a b",
        "a%20",
        "a\n",
        "a\0",
        "x" * 1025,
        "a\\b",
        "a?b",
    ],
)
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(NotFoundError):
        checked_path(path)


@pytest.mark.contract("K-102")
def test_prefixes_that_are_none() -> None:
    assert checked_prefix("a-B_9") == "a-B_9"
    for name in ("", "a.b", "a/b", "ä", "x" * 65, "a\n", "٣"):
        with pytest.raises(NotFoundError):
            checked_prefix(name)


@pytest.mark.contract("K-146", "K-147")
@pytest.mark.parametrize(
    ("header", "strong", "weak"),
    [
        (TAG, True, True),
        ("*", True, True),
        (f" {TAG} ", True, True),
        (f"{OTHER}, {TAG}", True, True),
        (f"{OTHER},{OTHER}", False, False),
        (f"W/{TAG}", False, True),
        (f'W/{OTHER}, W/{TAG}, "x,y"', False, True),
        (OTHER, False, False),
        ('""', False, False),
    ],
)
def test_tags_are_compared_as_the_standard_says(header: str, strong: bool, weak: bool) -> None:
    assert matches(header, HERE, weakly=False) is strong
    assert matches(header, HERE, weakly=True) is weak
    assert not matches(header, None, weakly=True)


@pytest.mark.contract("K-148")
@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (HERE, True),
        (f" {HERE}", True),
        (HERE[:-1], False),
        (f'"{HERE}', True),
        ("W/" + HERE, False),
        ("", False),
    ],
)
def test_a_tag_without_quotes_is_understood(header: str, expected: bool) -> None:
    assert matches(header, HERE, weakly=False) is expected


@pytest.mark.contract("K-148")
@given(st.text(max_size=40), st.text(max_size=40))
def test_no_header_is_an_error(if_match: str, if_none_match: str) -> None:
    for sha256 in (HERE, None):
        demands = Demands(if_match=if_match, if_none_match=if_none_match)
        with suppress(PreconditionFailedError):
            demands.check(sha256)


@pytest.mark.contract(
    "K-211",
    "KD-05",
    "KD-06",
    "KD-07",
    "A.6/upload",
    "K-500/block_quota_grace_bytes",
    "K-500/block_metafile_growth_bytes",
)
@pytest.mark.parametrize(
    ("used", "path", "old", "new", "is_allowed"),
    [
        (90, "blocks/x", None, 10, True),
        (90, "blocks/x", None, 11, False),
        (90, "block/x", None, 11, False),
        (90, "meta", None, 11, False),
        (100, "meta", 0, 153_599, True),
        (100, "meta", 0, 153_600, False),
        (100, "blocks/x", 0, 1, False),
        (100, "blocks/x", 50, 50, True),
        (200, "blocks/x", 50, 49, True),
        (100 + 16 * MIB, "meta", 10, 11, False),
        (99 + 16 * MIB, "meta", 10, 11, True),
        (500, "meta", 10, 10, True),
        (100, "blocksmith", 0, 5, True),
    ],
)
def test_who_may_store_how_much(used: int, path: str, old: int | None, new: int, is_allowed: bool) -> None:
    room = Room(quota=100, used=used)
    if is_allowed:
        require_room(room, path, old, new, QuotaRule())
        return
    with pytest.raises(QuotaReachedError, match="Quota reached") as caught:
        require_room(room, path, old, new, QuotaRule())
    assert caught.value.context == {"quota": 100, "size": used, "requested": new}


@pytest.mark.contract("K-213")
def test_what_others_reserved_is_taken() -> None:
    with pytest.raises(QuotaReachedError):
        require_room(Room(quota=100, used=50, reserved=41), "a", None, 10, QuotaRule())
    require_room(Room(quota=None, used=50, reserved=41), "a", None, 10**15, QuotaRule())


def test_blocks_are_told_by_their_paths() -> None:
    assert [is_block(path) for path in ("block/a", "blocks/a", "blocks", "a/block/b", "blocksmith/a")] == [
        True, True, False, False, False,
    ]  # fmt: skip
