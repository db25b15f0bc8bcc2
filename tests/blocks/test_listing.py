"""Listings of what is below a prefix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Row, insert

from meteorpi_db.blocks import changes, listing
from meteorpi_db.blocks.changes import Upload
from meteorpi_db.blocks.listing import list_page
from meteorpi_db.blocks.rows import ObjectRow, object_from
from meteorpi_db.blocks.tables import block_object
from tests.blocks.making import NOW, PREFIX, Blocks, facts_of

SEGMENT = st.text("ab-.~0", min_size=1, max_size=2).filter(lambda text: text not in (".", ".."))
PATHS = st.sets(st.lists(SEGMENT, min_size=1, max_size=3).map("/".join), max_size=12)


def listed(blocks: Blocks, limit: int, start: str = "", delimiter: str = "") -> tuple[list[str], list[str]]:
    """All objects and folders, page after page."""
    objects: list[str] = []
    folders: list[str] = []
    after: str | None = ""
    while after is not None:
        with blocks.transactions.reading() as connection:
            page = list_page(connection, PREFIX, start=start, after=after, limit=limit, delimiter=delimiter)
        assert len(page) <= limit
        assert page.next_after is None or len(page) == limit
        objects += [row.path for row in page.objects]
        folders += page.folders
        after = page.next_after
    return objects, folders


def expected(paths: Sequence[str], start: str, delimiter: str) -> tuple[list[str], list[str]]:
    below = [path for path in sorted(paths) if path.startswith(start)]
    if not delimiter:
        return below, []
    inside = [path for path in below if delimiter in path[len(start) :]]
    folders = {start + path[len(start) :].partition(delimiter)[0] + delimiter for path in inside}
    return [path for path in below if path not in inside], sorted(folders)


@pytest.mark.contract("K-130")
@pytest.mark.engines("sqlite")
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    paths=PATHS,
    start=st.sampled_from(["", "a", "a/", "b-", "zz"]),
    delimiter=st.sampled_from(["", "/", "-"]),
    limit=st.integers(1, 5),
)
def test_pages_together_are_everything_once_and_in_order(
    blocks: Blocks, paths: set[str], start: str, delimiter: str, limit: int
) -> None:
    for path in paths:
        blocks.store(path, path.encode())
    try:
        assert listed(blocks, limit, start, delimiter) == expected(sorted(paths), start, delimiter)
    finally:
        for path in paths:
            blocks.remove(path)


@pytest.mark.contract("K-130")
def test_order_is_that_of_bytes_on_every_engine(blocks: Blocks) -> None:
    paths = ["B", "a", "a-b", "a.b", "a/b", "a0", "aB", "a_b", "a~b", "b"]
    for path in reversed(paths):
        blocks.store(path, b"1")

    assert listed(blocks, 3) == (sorted(paths, key=str.encode), [])
    assert listed(blocks, 2, delimiter="/") == expected(paths, "", "/")


@pytest.mark.contract("K-130")
def test_nothing_is_missing_or_twice_while_others_change(blocks: Blocks) -> None:
    """What exists throughout is there once, whatever comes and goes between two pages."""
    kept = [f"k{number:02}" for number in range(10)]
    for path in kept:
        blocks.store(path, b"1")
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        with blocks.transactions.reading() as connection:
            page = list_page(connection, PREFIX, after=after, limit=3)
        found += [row.path for row in page.objects]
        after = page.next_after
        blocks.store(f"a{len(found)}", b"2")
        blocks.store(f"k{len(found):02}x", b"2")
        blocks.remove(f"k{len(found) - 3:02}x")

    assert [path for path in found if path in kept] == kept


def test_an_empty_prefix_is_an_empty_list(blocks: Blocks) -> None:
    assert listed(blocks, 5) == ([], [])


@pytest.mark.contract("K-130", "I-05")
@pytest.mark.engines("sqlite")
def test_a_folder_costs_no_more_for_all_that_is_in_it(
    blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [f"{folder}/{number:03}" for folder in "ac" for number in range(130)]
    paths += [f"b-{number:03}" for number in range(130)]

    def add(connection: Connection) -> None:
        stored = changes.store(
            connection, Upload(prefix=PREFIX, path="zz"), uuid4(), facts_of(b"1"), blocks.terms, NOW
        )
        same = {"content_id": stored.row.content_id, "size_bytes": 1, "sha256": stored.row.sha256}
        rest = {"media_type": "text/plain", "version": 1, "created_at": NOW, "modified_at": NOW}
        rows = [{"prefix": PREFIX, "path": path, **same, **rest} for path in paths]
        connection.execute(insert(block_object), rows)

    blocks.transactions.write(add)
    read: list[ObjectRow] = []

    def note(row: Row[Any]) -> ObjectRow:
        read.append(object_from(row))
        return read[-1]

    monkeypatch.setattr(listing, "object_from", note)

    assert listed(blocks, 1000, delimiter="/") == expected([*paths, "zz"], "", "/")
    assert len(read) < len(paths)
    assert listed(blocks, 60, delimiter="/") == expected([*paths, "zz"], "", "/")
    assert listed(blocks, 60) == ([*sorted(paths), "zz"], [])
