"""What searches give: the documented dictionaries, which know their types and their way to pandas."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, overload

from meteorpi_model.errors import ConfigurationError
from meteorpi_model.records import Event, FileRecord, Meta
from meteorpi_model.values import JsonObject

if TYPE_CHECKING:
    import pandas


class FileSearchResult(dict[str, object]):
    """``{'count': int, 'files': [FileRecord]}``; `count` is the number of matches without limit and skip."""

    def __init__(self, count: int, files: list[FileRecord]) -> None:
        super().__init__(count=count, files=files)

    @overload
    def __getitem__(self, key: Literal["count"]) -> int: ...
    @overload
    def __getitem__(self, key: Literal["files"]) -> list[FileRecord]: ...
    @overload
    def __getitem__(self, key: str) -> object: ...
    def __getitem__(self, key: str) -> object:
        return super().__getitem__(key)

    def to_pandas(self) -> pandas.DataFrame:
        """One row for each file of this page; see `files_frame`."""
        return files_frame(self["files"])


class EventSearchResult(dict[str, object]):
    """``{'count': int, 'events': [Event]}``; `count` is the number of matches without limit and skip."""

    def __init__(self, count: int, events: list[Event]) -> None:
        super().__init__(count=count, events=events)

    @overload
    def __getitem__(self, key: Literal["count"]) -> int: ...
    @overload
    def __getitem__(self, key: Literal["events"]) -> list[Event]: ...
    @overload
    def __getitem__(self, key: str) -> object: ...
    def __getitem__(self, key: str) -> object:
        return super().__getitem__(key)

    def to_pandas(self) -> pandas.DataFrame:
        """One row for each event of this page; see `events_frame`."""
        return events_frame(self["events"])


def files_frame(files: Iterable[FileRecord]) -> pandas.DataFrame:
    """A table with one row for each of `files`, indexed by file id.

    ``file_time`` is a timestamp in UTC; each metadata key becomes a column ``ns:key`` (of items with the same
    key the last counts).

    Raises:
        ConfigurationError: pandas is not installed.
    """
    rows = [_row(record.as_dict(), record.file_time, "file_time", record.meta) for record in files]
    return _frame(rows, "file_id", "file_time")


def events_frame(events: Iterable[Event]) -> pandas.DataFrame:
    """A table with one row for each of `events`, indexed by event id; ``files`` holds the file ids.

    Raises:
        ConfigurationError: pandas is not installed.
    """
    rows = []
    for event in events:
        row = _row(event.as_dict(), event.event_time, "event_time", event.meta)
        row["files"] = [record.file_id and record.file_id.hex for record in event.file_records]
        rows.append(row)
    return _frame(rows, "event_id", "event_time")


def _row(document: JsonObject, time: object, time_key: str, metas: Iterable[Meta]) -> JsonObject:
    own = {key: value for key, value in document.items() if key != "meta"}
    return own | {time_key: time} | {str(item.key): item.value for item in metas}


def _frame(rows: list[JsonObject], id_key: str, time_key: str) -> pandas.DataFrame:
    try:
        import pandas as pd
    except ImportError as error:
        raise ConfigurationError("pandas is not installed: pip install 'meteorpi[pandas]'") from error
    frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns=[id_key, time_key])
    frame[time_key] = pd.to_datetime(frame[time_key], utc=True)
    return frame.set_index(id_key)
