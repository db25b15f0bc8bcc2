"""Search documents to SQL: one builder for files and events, for every engine.

A search is a list of criteria. Each is a condition on a row; most can also *lead*: they have an index that
finds all rows that meet them, and many of those indices give the rows newest first, so that a page of 100
is 100 steps of one index however large the tables are. :mod:`meteorpi_db.searching` chooses the lead; the
other criteria filter what it finds.

Documented internals of the first generation keep their names here (`SQLBuilder`, its `add_..` methods,
`search_files_sql_builder`, `search_events_sql_builder`), but they speak SQLAlchemy in place of text: clauses
are functions of a bound value, and what comes out are `Select` objects. Their ``str()`` is the SQL.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, and_, exists, func, or_, select

from meteorpi_db import limits, tables
from meteorpi_db.dialects.hints import unindexed
from meteorpi_model import (
    EventSearch,
    FileRecordSearch,
    MetaConstraint,
    NSString,
    utc_datetime_to_milliseconds,
)
from meteorpi_model.errors import InvalidDocumentError

DAY_SECONDS = 86400

Condition: TypeAlias = ColumnElement[bool]
Search: TypeAlias = FileRecordSearch | EventSearch
Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Kind:
    """The tables of one kind of entity."""

    name: str
    table: Table
    time: ColumnElement[int]
    entity_id: ColumnElement[UUID]
    type: ColumnElement[str]
    meta: Table
    task_column: str

    @property
    def pk(self) -> ColumnElement[int]:
        """The local row number; grows with registration."""
        return self.table.c.id

    @property
    def task_pk(self) -> ColumnElement[int]:
        """The column of export tasks that refers to the entity."""
        return tables.export_task.c[self.task_column]


FILES = Kind(
    name="file",
    table=tables.file_record,
    time=tables.file_record.c.file_time,
    entity_id=tables.file_record.c.file_id,
    type=tables.file_record.c.semantic_type,
    meta=tables.file_meta,
    task_column="file_pk",
)
EVENTS = Kind(
    name="event",
    table=tables.event,
    time=tables.event.c.event_time,
    entity_id=tables.event.c.event_id,
    type=tables.event.c.event_type,
    meta=tables.event_meta,
    task_column="event_pk",
)


@dataclass(frozen=True, eq=False)
class Lead:
    """An index that finds every row which meets one criterion.

    Attributes:
        pk, time: where the index has the entity's row number and time.
        branches: one of these is met by each row; the index gives the rows of one branch together. Without
            branches every row counts.
        is_newest_first: whether it gives the rows of a branch in order of time.
        is_selective: whether few rows may be expected, so that it is worth looking whether that is so.
        once: for an index with several rows for an entity: true for one of them.
    """

    pk: ColumnElement[int]
    time: ColumnElement[int]
    branches: tuple[Condition, ...]
    is_newest_first: bool = True
    is_selective: bool = False
    once: Condition | None = None

    @property
    def conditions(self) -> list[Condition]:
        """What all rows of the index meet that belong to the criterion."""
        return [or_(*self.branches)] if len(self.branches) > 1 else list(self.branches)


@dataclass(frozen=True, eq=False)
class Criterion:
    """One condition of a search: as a filter of entity rows, and perhaps as a lead."""

    condition: Condition
    lead: Lead | None = None


class SQLBuilder:
    """Collects the criteria of a search.

    Args:
        kind: `FILES` or `EVENTS`.

    Attributes:
        criteria: in order of preference as leads.
        after, before: milliseconds, strict; kept apart because every lead has the time in its index.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.criteria: list[Criterion] = []
        self.after: int | None = None
        self.before: int | None = None

    @property
    def where_clauses(self) -> list[Condition]:
        """Every condition on a row of the entity table."""
        return [criterion.condition for criterion in self.criteria] + self.time_bounds(self.kind.time)

    def time_bounds(self, time: ColumnElement[int]) -> list[Condition]:
        """The limits of time as conditions on column `time` of whichever table leads."""
        bounds = []
        if self.after is not None:
            bounds.append(time > self.after)
        if self.before is not None:
            bounds.append(time < self.before)
        return bounds

    def add_sql(self, value: Value | None, clause: Callable[[Value], Condition]) -> None:
        """Add the condition that `clause` makes of `value`; nothing for None."""
        if value is not None:
            self.criteria.append(Criterion(clause(value)))

    def add_set_membership(self, values: Sequence[str] | None, column: ColumnElement[str]) -> None:
        """Ask for any of `values`; led by an index over `column`, time and row number. Nothing for None."""
        if values is None:
            return
        wanted = sorted(set(values))
        self.criteria.append(
            Criterion(
                unindexed(column).in_(wanted),
                Lead(self.kind.pk, self.kind.time, tuple(column == value for value in wanted)),
            )
        )

    def add_exact(self, value: object | None, column: ColumnElement[Any]) -> None:
        """Ask for `value`, led by an index over `column`, time and row number. Nothing for None."""
        if value is None:
            return
        wanted = self.map_value(value)
        lead = Lead(self.kind.pk, self.kind.time, (column == wanted,), is_selective=True)
        self.criteria.append(Criterion(unindexed(column) == wanted, lead))

    def add_time_of_night(self, after_seconds: float | None, before_seconds: float | None) -> None:
        """Ask for whole seconds since midday strictly between the limits."""
        column = self.kind.table.c.time_offset
        conditions = _strictly_between(column, after_seconds, before_seconds)
        if conditions:
            lead = Lead(
                self.kind.pk, self.kind.time, (and_(*conditions),), is_newest_first=False, is_selective=True
            )
            filters = _strictly_between(unindexed(column), after_seconds, before_seconds)
            self.criteria.append(Criterion(and_(*filters), lead))

    def add_metadata_query_properties(
        self, meta_constraints: Iterable[MetaConstraint], search_type: str | None = None
    ) -> None:
        """Ask for one item of metadata for each constraint.

        Args:
            meta_constraints: all must be met.
            search_type: ``file`` or ``event``; only to be checked against the kind of this builder.

        Raises:
            InvalidDocumentError: unknown constraint type, or a value that does not fit it.
        """
        if search_type not in (None, self.kind.name):
            raise InvalidDocumentError(f"this is a search for {self.kind.name}s, not for {search_type!r}")
        for constraint in meta_constraints:
            self.criteria.append(self._meta_criterion(constraint))

    def _meta_criterion(self, constraint: MetaConstraint) -> Criterion:
        items = self.kind.meta.alias()
        condition = _item_condition(items, constraint)
        earlier = self.kind.meta.alias()
        repeated = exists().where(
            earlier.c.owner_pk == items.c.owner_pk,
            earlier.c.position < items.c.position,
            _item_condition(earlier, constraint),
        )
        lead = Lead(
            items.c.owner_pk,
            items.c.entity_time,
            (condition,),
            is_newest_first=constraint.constraint_type.endswith("_equals"),
            is_selective=True,
            once=or_(items.c.is_repeat.is_(False), ~repeated),
        )
        probed = self.kind.meta.alias()
        found = exists().where(
            probed.c.owner_pk == self.kind.pk, _item_condition(probed, constraint, unindexed)
        )
        return Criterion(found, lead)

    @staticmethod
    def map_value(value: object) -> object:
        """`value` as columns take it: namespaced strings as text, datetimes as milliseconds."""
        if isinstance(value, NSString):
            return str(value)
        if isinstance(value, datetime):
            return utc_datetime_to_milliseconds(value)
        return value

    def get_select_sql(
        self, columns: Sequence[ColumnElement[Any]], limit: int = 0, skip: int = 0
    ) -> Select[Any]:
        """Everything that matches, newest first, as one statement that leaves the choice to the engine."""
        statement = select(*columns).where(*self.where_clauses)
        statement = statement.order_by(self.kind.time.desc(), self.kind.pk.desc())
        return statement.limit(limit or None).offset(skip or None)

    def get_count_sql(self) -> Select[Any]:
        """How much matches, as one statement that leaves the choice to the engine."""
        return select(func.count()).select_from(self.kind.table).where(*self.where_clauses)


def _strictly_between(
    column: ColumnElement[Any], after: float | None, before: float | None
) -> list[Condition]:
    conditions: list[Condition] = []
    if after is not None:
        conditions.append(column > _whole_seconds(math.floor, after, "after_offset"))
    if before is not None:
        conditions.append(column < _whole_seconds(math.ceil, before, "before_offset"))
    return conditions


def _whole_seconds(rounded: Callable[[float], int], value: float, name: str) -> int:
    """A limit between whole seconds, moved to the one that asks for the same, within what a day has."""
    return max(-1, min(DAY_SECONDS, rounded(limits.checked_number(value, name))))


def _item_condition(
    items: Any,
    constraint: MetaConstraint,
    form: Callable[[ColumnElement[Any]], ColumnElement[Any]] | None = None,
) -> Condition:
    """What an item of metadata, a row of `items`, must be to meet `constraint`.

    Args:
        items: an alias of a metadata table.
        constraint: is checked.
        form: applied to every column, to keep its index out of it.
    """
    constraint.check()
    of = form or _as_it_is
    key = of(items.c.meta_key) == str(constraint.key)
    if constraint.constraint_type in MetaConstraint.STRING_TYPES:
        text = limits.checked_text(constraint.value, "value", tables.TEXT_LENGTH, may_be_empty=True)
        return and_(key, _text_condition(items, text, of))
    if isinstance(constraint.value, datetime):
        column: ColumnElement[Any] = of(items.c.date_value)
        value: float = utc_datetime_to_milliseconds(constraint.value)
    else:
        column, value = of(items.c.number_value), limits.checked_number(constraint.value, "value")
    if constraint.constraint_type in ("less", "before"):
        return and_(key, column <= value)
    if constraint.constraint_type in ("greater", "after"):
        return and_(key, column >= value)
    return and_(key, column == value)


def _as_it_is(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return column


def _text_condition(
    items: Any, text: str, of: Callable[[ColumnElement[Any]], ColumnElement[Any]]
) -> Condition:
    """The indexed head is equal; a text as long as the head also needs the whole looked at."""
    head = of(items.c.string_head) == text[: tables.STRING_HEAD_LENGTH]
    if len(text) < tables.STRING_HEAD_LENGTH:
        return head
    return and_(head, items.c.string_value == text)


def search_files_sql_builder(search: FileRecordSearch) -> SQLBuilder:
    """The criteria of a search for files, but for the place (see `searching`)."""
    builder = SQLBuilder(FILES)
    _add_leading(builder, search)
    builder.add_exact(_type_text(search.semantic_type), tables.file_record.c.semantic_type)
    builder.add_exact(
        limits.checked_optional_text(search.mime_type, "mime_type", tables.NAME_LENGTH),
        tables.file_record.c.mime_type,
    )
    _add_filters(builder, search)
    if search.exclude_events:
        links = tables.event_file.alias()
        builder.criteria.append(Criterion(~exists().where(links.c.file_pk == FILES.pk)))
    return builder


def search_events_sql_builder(search: EventSearch) -> SQLBuilder:
    """The criteria of a search for events, but for the place (see `searching`)."""
    builder = SQLBuilder(EVENTS)
    _add_leading(builder, search)
    builder.add_exact(_type_text(search.event_type), tables.event.c.event_type)
    _add_filters(builder, search)
    return builder


def builder_for(search: Search) -> SQLBuilder:
    """The criteria of either kind of search.

    Raises:
        InvalidDocumentError: `search` is something else, or asks for what cannot be.
    """
    if isinstance(search, FileRecordSearch):
        return search_files_sql_builder(search)
    if isinstance(search, EventSearch):
        return search_events_sql_builder(search)
    raise InvalidDocumentError(f"not a search: {search!r}")


def _add_leading(builder: SQLBuilder, search: Search) -> None:
    builder.after = None if search.after is None else limits.checked_time(search.after, "after")
    builder.before = None if search.before is None else limits.checked_time(search.before, "before")
    for camera_id in search.camera_ids or ():
        limits.checked_camera_id(camera_id)
    builder.add_set_membership(search.camera_ids, builder.kind.table.c.camera_id)
    builder.add_metadata_query_properties(search.meta_constraints, builder.kind.name)


def _type_text(value: NSString | None) -> str | None:
    return None if value is None else limits.checked_type(value, "type")


def _add_filters(builder: SQLBuilder, search: Search) -> None:
    builder.add_time_of_night(search.after_offset, search.before_offset)
    if search.exclude_imported:
        builder.criteria.append(Criterion(builder.kind.table.c.imported_at.is_(None)))
    builder.add_sql(search.exclude_export_to, lambda config_id: _has_no_task(builder.kind, config_id))


def _has_no_task(kind: Kind, config_id: UUID) -> Condition:
    config_pk = (
        select(tables.export_config.c.id)
        .where(tables.export_config.c.config_id == limits.checked_id(config_id, "exclude_export_to"))
        .scalar_subquery()
    )
    # The few tasks of the entity, never the many of the configuration.
    return ~exists().where(kind.task_pk == kind.pk, unindexed(tables.export_task.c.config_pk) == config_pk)


def status_in_region(search: Search) -> Condition | None:
    """The condition on `camera_status` rows that the box of a search makes; None without a box."""
    place = tables.camera_status.c
    bounds: list[Condition] = []
    for name, column in (("lat", place.latitude), ("long", place.longitude)):
        low, high = getattr(search, f"{name}_min"), getattr(search, f"{name}_max")
        if low is not None:
            bounds.append(column >= limits.checked_number(low, f"{name}_min"))
        if high is not None:
            bounds.append(column <= limits.checked_number(high, f"{name}_max"))
    return and_(*bounds) if bounds else None
