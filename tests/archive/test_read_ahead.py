"""Chunks that are made ahead are the same ones, where that is worth a thread, and it ends with them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from meteorpi_db.testing.processes import wait_until
from meteorpi_server.archiving.read_ahead import (
    AHEAD_CHUNKS,
    SLOWEST_LINE,
    SLOWEST_SOURCE,
    TRIAL_CHUNKS,
    ReadAhead,
)

pytestmark = pytest.mark.contract("archive-P3")

LONG = 5 * TRIAL_CHUNKS


class Making(Iterator[bytes]):
    """Numbered chunks, each of which takes some time by a clock of its own."""

    def __init__(self, seconds: float = 1.0, count: int = LONG, error: Exception | None = None) -> None:
        self.now = 0.0
        self.made = 0
        self.closed = 0
        self._seconds = seconds
        self._count = count
        self._error = error

    def __next__(self) -> bytes:
        if self.made == self._count:
            raise self._error or StopIteration
        self.now += self._seconds
        self.made += 1
        return b"%d" % self.made

    def close(self) -> None:
        self.closed += 1


def taken(making: Making, sending: float = 1.0) -> tuple[ReadAhead, Callable[..., list[bytes]]]:
    """What is made, and a way to take so many chunks, each of which takes `sending` seconds to leave."""
    ahead = ReadAhead(making, lambda: making.now)

    def take(count: int, sending: float = sending) -> list[bytes]:
        found = []
        for chunk in itertools.islice(ahead, count):
            found.append(chunk)
            making.now += sending
        return found

    return ahead, take


@pytest.mark.parametrize(
    ("making", "sending", "is_worth_it"),
    [
        (1.0, 1.0, True),
        (1.0, SLOWEST_LINE, True),
        (1.0, SLOWEST_LINE * 1.1, False),
        (SLOWEST_SOURCE, 1.0, True),
        (SLOWEST_SOURCE * 1.1, 1.0, False),
    ],
)
def test_thread_is_started_where_both_take_about_as_long(
    making: float, sending: float, is_worth_it: bool
) -> None:
    source = Making(making)
    ahead, take = taken(source, sending)

    take(TRIAL_CHUNKS)
    assert not ahead.is_ahead
    take(1)

    assert ahead.is_ahead is is_worth_it
    ahead.close()


def test_line_that_becomes_faster_is_noticed() -> None:
    ahead, take = taken(Making())
    take(TRIAL_CHUNKS + 1, 100.0)
    assert not ahead.is_ahead

    take(2 * TRIAL_CHUNKS)

    assert ahead.is_ahead
    ahead.close()


@pytest.mark.parametrize("sending", [1.0, 100.0], ids=["ahead", "alone"])
@pytest.mark.parametrize("count", [0, 1, TRIAL_CHUNKS, TRIAL_CHUNKS + 1, LONG])
def test_chunks_are_the_same_and_so_is_their_end(count: int, sending: float) -> None:
    ahead, take = taken(Making(count=count), sending)

    assert take(LONG) == [b"%d" % number for number in range(1, count + 1)]
    for _ in range(2 * AHEAD_CHUNKS):
        assert take(1) == []
    ahead.close()


def test_error_comes_behind_what_was_made_before_it() -> None:
    ahead, take = taken(Making(error=OSError("gone")))

    assert len(take(LONG)) == LONG
    for _ in range(2 * AHEAD_CHUNKS):
        with pytest.raises(OSError, match="gone"):
            next(ahead)
    ahead.close()


def test_no_more_is_made_than_there_is_room_for() -> None:
    making = Making()
    ahead, take = taken(making)

    take(TRIAL_CHUNKS + 1)
    wait_until(
        lambda: making.made == TRIAL_CHUNKS + 1 + AHEAD_CHUNKS, 20, "the chunks that there is room for"
    )
    take(3)
    wait_until(lambda: making.made == TRIAL_CHUNKS + 4 + AHEAD_CHUNKS, 20, "as many as were taken")

    ahead.close()
    assert making.made == TRIAL_CHUNKS + 4 + AHEAD_CHUNKS


def test_thread_ends_when_the_reader_leaves() -> None:
    making = Making()
    ahead, take = taken(making)
    take(TRIAL_CHUNKS + 1)
    assert ahead.is_ahead

    ahead.close()
    ahead.close()

    assert not ahead.is_ahead
    assert making.closed == 2
