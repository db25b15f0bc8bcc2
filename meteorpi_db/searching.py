"""Running a search: choosing which criterion leads, and fetching keys page by page.

A search becomes a plan with one or two cheap looks at the database:

* Nothing can match: no camera status lies in the region.
* Few rows meet one criterion (at most `FEW`): its index is read to the end, the other criteria filter, and
  all matches are known. A look whether that is so costs at most `FEW` steps of the index.
* Otherwise one index is walked, newest first, and the other criteria filter on the way. A list of cameras
  or statuses is walked as one walk each, merged.

What comes out are keys, time and row number; records are then fetched by row number in a bounded number of
statements. All of it works inside one snapshot; iteration uses a snapshot per page and goes on behind the
last key, so it stays valid whatever is written meanwhile.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, exists, func, select, union_all

from meteorpi_db import tables
from meteorpi_db.connections import Transactions
from meteorpi_db.dialects.hints import unindexed
from meteorpi_db.sql_builder import (
    Condition,
    Criterion,
    Kind,
    Lead,
    Search,
    SQLBuilder,
    builder_for,
    status_in_region,
)

Entity = TypeVar("Entity")

FEW = 1000
"""Rows read to be filtered, and row numbers listed in a statement (Firebird takes up to 1500)."""

MOST_BRANCHES = 30
"""Walks that are merged in one statement; Firebird takes some 250 tables in one."""

PAGE = 1000
"""Records fetched at once by lazy iteration."""


class Key(NamedTuple):
    """Where an entity stands in the order of results: newest first, then registered last first."""

    time: int
    pk: int


@dataclass(frozen=True)
class Found:
    """Keys of the results of a search.

    Attributes:
        keys: in order.
        statement: gives the row numbers as column ``id`` again; used in place of lists that are too long.
    """

    keys: Sequence[Key]
    statement: Select[Any]

    def narrow(self, statement: Select[Any], pk: ColumnElement[int]) -> Select[Any]:
        """`statement` for the found entities only, whose row numbers are in its column `pk`."""
        if len(self.keys) <= FEW:
            return statement.where(pk.in_([key.pk for key in self.keys]))
        found = self.statement.subquery()
        return statement.join(found, found.c.id == pk)


class Plan(ABC):
    """How a search is run."""

    @abstractmethod
    def find(self, connection: Connection, limit: int, skip: int = 0, behind: Key | None = None) -> Found:
        """The keys of a page.

        Args:
            connection: to read with.
            limit: at most so many; 0 for all.
            skip: leave out so many from the front.
            behind: begin behind this key.
        """

    @abstractmethod
    def count(self, connection: Connection) -> int:
        """Number of all matches."""

    @abstractmethod
    def matching_pks(self) -> Select[Any]:
        """A statement for the row numbers of all matches, in no order."""


class KnownPlan(Plan):
    """All matches are known already."""

    def __init__(self, kind: Kind, keys: Sequence[Key]) -> None:
        self._kind = kind
        self._keys = sorted(keys, reverse=True)

    def find(self, connection: Connection, limit: int, skip: int = 0, behind: Key | None = None) -> Found:
        """Cut the page out of the list."""
        keys = self._keys if behind is None else [key for key in self._keys if key < behind]
        return Found(keys[skip : skip + limit] if limit else keys[skip:], self.matching_pks())

    def count(self, connection: Connection) -> int:
        """Length of the list."""
        return len(self._keys)

    def matching_pks(self) -> Select[Any]:
        """The list, which is short enough to be part of the statement."""
        return select(self._kind.pk.label("id")).where(self._kind.pk.in_([key.pk for key in self._keys]))


class WalkPlan(Plan):
    """One index leads, the other criteria filter.

    Args:
        builder: all criteria.
        criterion: the one that leads; None to lead with the time alone.
    """

    def __init__(self, builder: SQLBuilder, criterion: Criterion | None) -> None:
        kind = builder.kind
        self._builder = builder
        self._lead = criterion.lead if criterion and criterion.lead else Lead(kind.pk, kind.time, ())
        self._filters = [other.condition for other in builder.criteria if other is not criterion]

    def find(self, connection: Connection, limit: int, skip: int = 0, behind: Key | None = None) -> Found:
        """Walk newest first, as far as the page reaches."""
        statement = self._page(limit, skip, behind)
        keys = [Key(row.entity_time, row.id) for row in connection.execute(statement)]
        return Found(keys, statement if limit or skip else statement.order_by(None))

    def _page(self, limit: int, skip: int, behind: Key | None) -> Select[Any]:
        branches = self._lead.branches
        if len(branches) < 2 or not limit:
            return _newest_first(self._rows(self._lead.conditions, behind), limit, skip)
        walks = [_newest_first(self._rows([branch], behind), skip + limit).subquery() for branch in branches]
        merged = union_all(*(select(walk.c.id, walk.c.entity_time) for walk in walks)).subquery()
        return _newest_first(select(merged.c.id, merged.c.entity_time), limit, skip)

    def _rows(self, conditions: Sequence[Condition], behind: Key | None = None) -> Select[Any]:
        lead = self._lead
        columns: list[ColumnElement[Any]] = [lead.pk.label("id"), lead.time.label("entity_time")]
        statement: Select[Any] = select(*columns)
        statement = statement.where(*conditions, *self._builder.time_bounds(lead.time))
        if behind is not None:
            statement = statement.where(
                lead.time <= behind.time,
                (unindexed(lead.time) < behind.time) | (unindexed(lead.pk) < behind.pk),
            )
        if lead.once is not None:
            statement = statement.where(lead.once)
        return self._filtered(statement)

    def _filtered(self, statement: Select[Any]) -> Select[Any]:
        kind = self._builder.kind
        if not self._filters:
            return statement
        if self._lead.pk is kind.pk:
            return statement.where(*self._filters)
        return statement.where(exists().where(kind.pk == self._lead.pk, *self._filters))

    def count(self, connection: Connection) -> int:
        """Walk to the end; where only time led, along the index of another criterion, which is shorter."""
        if not self._lead.branches:
            other = next((c for c in self._builder.criteria if c.lead), None)
            if other is not None:
                return WalkPlan(self._builder, other).count(connection)
        rows = self._rows(self._lead.conditions)
        counting = rows.with_only_columns(func.count(), maintain_column_froms=True)
        return int(connection.execute(counting).scalar_one())

    def matching_pks(self) -> Select[Any]:
        """The row numbers of all matches, in no order."""
        rows = self._rows(self._lead.conditions)
        return rows.with_only_columns(self._lead.pk.label("id"), maintain_column_froms=True)


def _newest_first(statement: Select[Any], limit: int, skip: int = 0) -> Select[Any]:
    columns = statement.selected_columns
    return (
        statement.order_by(columns.entity_time.desc(), columns.id.desc())
        .limit(limit or None)
        .offset(skip or None)
    )


def plan_search(connection: Connection, search: Search, newer_than: int | None = None) -> Plan:
    """Decide how to run `search`.

    Args:
        connection: to read with.
        search: what to look for.
        newer_than: look only at row numbers beyond this one.

    Raises:
        InvalidDocumentError: it cannot be read as a search.
    """
    builder = builder_for(search)
    region = status_in_region(search)
    if region is not None:
        criterion = _place_criterion(connection, builder.kind, region)
        if criterion is None:
            return KnownPlan(builder.kind, [])
        builder.criteria.insert(1 if search.camera_ids else 0, criterion)
    if newer_than is not None:
        return WalkPlan(builder, _newer_criterion(builder, newer_than))
    return _known_plan(connection, builder) or walk_plan(builder)


def _newer_criterion(builder: SQLBuilder, pk: int) -> Criterion:
    kind = builder.kind
    return Criterion(kind.pk > pk, Lead(kind.pk, kind.time, (kind.pk > pk,), is_newest_first=False))


def _place_criterion(connection: Connection, kind: Kind, region: Condition) -> Criterion | None:
    """Camera statuses are few: look them up, and walk each of them when they are very few."""
    in_region = select(tables.camera_status.c.id).where(region)
    statuses = connection.execute(in_region.limit(MOST_BRANCHES + 1)).scalars().all()
    if not statuses:
        return None
    column = kind.table.c.status_pk
    if len(statuses) > MOST_BRANCHES:
        return Criterion(unindexed(column).in_(in_region))
    branches = tuple(column == status for status in sorted(statuses))
    return Criterion(unindexed(column).in_(statuses), Lead(kind.pk, kind.time, branches))


def _known_plan(connection: Connection, builder: SQLBuilder) -> KnownPlan | None:
    """A plan over a list, when one criterion leaves few rows.

    Not worth a look where a single criterion leads in order by itself.
    """
    leading = [criterion for criterion in builder.criteria if criterion.lead]
    if len(leading) == 1 and leading[0].lead and leading[0].lead.is_newest_first:
        return None
    is_short = builder.after is not None and builder.before is not None
    for criterion in leading:
        lead = criterion.lead
        if lead and (lead.is_selective or is_short) and _has_few(connection, builder, lead):
            return KnownPlan(builder.kind, WalkPlan(builder, criterion).find(connection, limit=0).keys)
    return None


def _has_few(connection: Connection, builder: SQLBuilder, lead: Lead) -> bool:
    # In an index that is not in order of time, limits of time could let the engine step over any number.
    bounds = builder.time_bounds(lead.time) if lead.is_newest_first else []
    probe = select(lead.pk).where(*lead.conditions, *bounds).limit(FEW + 1).subquery()
    return int(connection.execute(select(func.count()).select_from(probe)).scalar_one()) <= FEW


def walk_plan(builder: SQLBuilder) -> WalkPlan:
    """Lead with the first criterion that gives its rows newest first; without one, with the time itself."""
    return WalkPlan(builder, next((c for c in builder.criteria if c.lead and _can_walk(c.lead)), None))


def _can_walk(lead: Lead) -> bool:
    return lead.is_newest_first and len(lead.branches) <= MOST_BRANCHES


def total_of(plan: Plan, connection: Connection, found: Found, limit: int, skip: int) -> int:
    """Number of all matches; counted only when the page does not show it."""
    shown = len(found.keys)
    is_last_page = not limit or shown < limit
    if is_last_page and (shown or not skip):
        return skip + shown
    return plan.count(connection)


def iterate(
    transactions: Transactions, search: Search, fetch: Callable[[Connection, Found], list[Entity]]
) -> Iterator[Entity]:
    """Give all that `search` asks for one by one, a page and a short transaction at a time.

    Args:
        transactions: the database.
        search: with limit and skip.
        fetch: gives the entities of a page; those deleted since the search began are left out.
    """
    with transactions.reading() as connection:
        plan = plan_search(connection, search)
    left, skip, behind = search.limit or None, search.skip, None
    while left is None or left:
        size = PAGE if left is None else min(PAGE, left)
        with transactions.reading() as connection:
            found = plan.find(connection, size, skip, behind)
            entities = fetch(connection, found)
        yield from entities
        if len(found.keys) < size:
            return
        left = None if left is None else left - size
        skip, behind = 0, found.keys[-1]
