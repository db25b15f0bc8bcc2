"""Iteration gives each match once, however the pages fall and whatever arrives meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meteorpi_client import MeteorClient
from meteorpi_client.paging import Page, iterate_pages
from meteorpi_model import FileRecord, FileRecordSearch
from tests.client.conftest import file_record, files_answer
from tests.client.tiny_node import TinyNode, answer

START = datetime(2015, 4, 1)


class Holdings:
    """What a node holds, searched as a node does; `ceiling` is the most it gives at a time."""

    def __init__(self, times: list[int], ceiling: int = 1000) -> None:
        self.records: list[FileRecord] = []
        self.ceiling = ceiling
        self.before_page: Callable[[], None] = lambda: None
        for time in times:
            self.add(time)

    def add(self, time: int) -> None:
        self.records.append(file_record(len(self.records) + 1, START + timedelta(milliseconds=time)))

    def fetch(self, search: FileRecordSearch) -> Page[FileRecord]:
        self.before_page()
        last_registered_first = self.records[::-1]
        found = [
            record
            for record in sorted(last_registered_first, key=time_of, reverse=True)
            if (search.before is None or time_of(record) < search.before)
            and (search.after is None or time_of(record) > search.after)
        ]
        return Page(found[search.skip :][: min(search.limit, self.ceiling)], len(found))

    def iterate(self, search: FileRecordSearch, page_size: int) -> list[FileRecord]:
        return list(iterate_pages(search, self.fetch, lambda r: (r.file_time, r.file_id), page_size))


def time_of(record: FileRecord) -> datetime:
    assert record.file_time is not None
    return record.file_time


@pytest.mark.contract("issue-2.6/pages")
@given(
    times=st.lists(st.integers(0, 6), max_size=30),
    page_size=st.integers(1, 5),
    ceiling=st.integers(1, 5),
    limit=st.integers(0, 12),
    skip=st.integers(0, 4),
)
def test_pages_give_what_one_search_would(
    times: list[int], page_size: int, ceiling: int, limit: int, skip: int
) -> None:
    holdings = Holdings(times)
    expected = holdings.fetch(FileRecordSearch(limit=1000, skip=skip)).items[: limit or None]
    holdings.ceiling = ceiling

    assert holdings.iterate(FileRecordSearch(limit=limit, skip=skip), page_size) == expected


@pytest.mark.contract("issue-2.6/pages")
@given(
    times=st.lists(st.integers(0, 6), min_size=1, max_size=30),
    arrivals=st.lists(st.integers(0, 10)),
    page_size=st.integers(1, 5),
)
def test_arrivals_between_pages_lose_and_repeat_nothing(
    times: list[int], arrivals: list[int], page_size: int
) -> None:
    holdings = Holdings(times)
    first_holdings = list(holdings.records)
    holdings.before_page = lambda: holdings.add(arrivals.pop()) if arrivals else None

    ids = [record.file_id for record in holdings.iterate(FileRecordSearch(limit=0), page_size)]

    assert len(ids) == len(set(ids))
    assert {record.file_id for record in first_holdings} <= set(ids)


def test_iteration_keeps_the_other_criteria(client: MeteorClient, node: TinyNode) -> None:
    records = [file_record(n, START - timedelta(minutes=n)) for n in range(1, 6)]
    pages = [files_answer(records[:2], 5), files_answer(records[1:3], 4), files_answer(records[2:], 3)]
    node.answer_with(*map(answer, pages))

    found = list(client.iterate_files(FileRecordSearch(mime_type="text/plain", limit=0), page_size=2))

    assert found == records
    assert len(node.requests) == 3
    assert all("text%252Fplain" in path for path in node.paths)


def test_node_that_repeats_itself_is_not_listened_to_for_ever(client: MeteorClient, node: TinyNode) -> None:
    node.answer_with(answer(files_answer([file_record(1, START)], count=9)))

    assert len(list(client.iterate_files(page_size=1))) == 1
    assert len(node.requests) == 9
