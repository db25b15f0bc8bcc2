"""Everything that matches a search, page by page, while the node goes on taking data in.

Pages by number (``skip``) shift when something newer arrives: an item is then seen twice, or, after a
deletion, never. So the next page is asked for by time: what is not later than the last item seen, without
those seen already. Data that arrives behind the place reached is given too; what is newer is left for the
next time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar
from uuid import UUID

from meteorpi_model.documents import drop_missing
from meteorpi_model.search import EventSearch, FileRecordSearch
from meteorpi_model.values import utc_datetime_to_milliseconds

Item = TypeVar("Item")
Search = TypeVar("Search", FileRecordSearch, EventSearch)

DEFAULT_PAGE_SIZE = 500
_MILLISECOND = timedelta(milliseconds=1)  # the resolution of times on the wire


def iterate_pages(
    search: Search,
    fetch: Callable[[Search], Page[Item]],
    identify: Callable[[Item], tuple[datetime | None, UUID | None]],
    page_size: int,
) -> Iterator[Item]:
    """Each item that matches `search` once, newest first; one request for each `page_size` items.

    Args:
        search: its `skip` leaves out so many from the front, its `limit` ends after so many; 0 for no end.
        fetch: gives one page, newest first; it may hold fewer than asked for.
        identify: time and id of an item.
        page_size: items to ask for at a time.
    """
    found = _every_match(search, fetch, identify, page_size)
    return itertools.islice(found, search.skip, search.skip + search.limit if search.limit else None)


def _every_match(
    search: Search,
    fetch: Callable[[Search], Page[Item]],
    identify: Callable[[Item], tuple[datetime | None, UUID | None]],
    page_size: int,
) -> Iterator[Item]:
    # A `skip` of the caller is counted here: pages by time begin anew at a place that it may have passed.
    asked, place = search.page(page_size), _Place()
    while True:
        page = fetch(asked)
        news = [item for item in page.items if place.advance(*identify(item))]
        yield from news
        if asked.skip + len(page.items) >= page.count or not page.items:
            return
        if news:
            asked = place.next_page(search, page_size, len(page.items))
        else:  # so much arrived within the same millisecond that what was seen filled the page
            asked = asked.page(page_size, asked.skip + len(page.items))


@dataclass(frozen=True)
class Page(Generic[Item]):
    """One answer: the items, and how many match without limit and skip."""

    items: list[Item]
    count: int


class _Place:
    """How far an iteration has come: the earliest time given out, and the ids given out at that time."""

    def __init__(self) -> None:
        self._time: datetime | None = None
        self._ids: set[UUID | None] = set()

    def advance(self, time: datetime | None, item_id: UUID | None) -> bool:
        """Note an item; False when it was noted before."""
        if time != self._time:
            self._time = time
            self._ids = set()
        if item_id in self._ids:
            return False
        self._ids.add(item_id)
        return True

    def next_page(self, search: Search, page_size: int, last_page_size: int) -> Search:
        """The search for what comes after this place.

        More items than fit on a page may share one millisecond; only within it they are counted by number.
        """
        before = None if self._time is None else utc_datetime_to_milliseconds(self._time + _MILLISECOND)
        skip = len(self._ids) if len(self._ids) >= last_page_size else 0
        document = search.as_dict() | drop_missing({"before": before, "limit": page_size, "skip": skip})
        return search.from_dict(document)
