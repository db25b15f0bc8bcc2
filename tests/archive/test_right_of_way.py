"""Other requests pass archives that are being sent, but not for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from meteorpi_server.archive_api.right_of_way import (
    LONGEST_PAUSE_SECONDS,
    NEXT_SECONDS,
    SHORT_SECONDS,
    RightOfWay,
)
from tests.archive.conftest import ArchiveNode

pytestmark = [pytest.mark.engines("sqlite"), pytest.mark.contract("archive-P10")]


class Times:
    """A clock that shows these times, one after the other; who asks more often waited."""

    def __init__(self, *times: float) -> None:
        self.left = list(times)

    def __call__(self) -> float:
        return self.left.pop(0)


@pytest.fixture
def other() -> Iterator[ThreadPoolExecutor]:
    """A thread that works on another request."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_nobody_pauses_while_nothing_else_is_worked_on() -> None:
    RightOfWay(Times(1)).pause()


def test_archive_goes_on_when_the_last_request_has_its_answer(other: ThreadPoolExecutor) -> None:
    now = [0.0]  # no time goes by unasked: a pause ends with the requests, or not at all
    way = RightOfWay(clock=lambda: now[0])
    way.take()
    other.submit(way.take).result()
    archive = threading.Thread(target=way.pause)
    archive.start()

    way.give_back()
    archive.join(0.2)
    assert archive.is_alive()
    other.submit(way.give_back).result()
    now[0] += NEXT_SECONDS
    archive.join(20)

    assert not archive.is_alive()


def test_archive_does_not_pause_for_longer_than_it_may(other: ThreadPoolExecutor) -> None:
    way = RightOfWay()
    other.submit(way.take).result()

    begun = time.monotonic()
    way.pause()

    assert time.monotonic() - begun >= LONGEST_PAUSE_SECONDS


def test_request_that_takes_long_has_right_of_way_no_more(other: ThreadPoolExecutor) -> None:
    way = RightOfWay(Times(1, 1 + SHORT_SECONDS))
    other.submit(way.take).result()

    way.pause()


def test_request_behind_another_one_finds_archives_pausing() -> None:
    times = Times(1, 2, 2 + NEXT_SECONDS / 2, 2 + NEXT_SECONDS)
    way = RightOfWay(times)
    way.take()
    way.give_back()

    way.pause()

    assert times.left == []


@pytest.mark.parametrize("path", ["/archive/healthz", "/nowhere", "/archive/%00"])
def test_requests_have_right_of_way_until_they_are_answered_whatever_the_answer(
    path: str, make_archive_node: Callable[..., ArchiveNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[str] = []
    for name in ("take", "give_back"):
        monkeypatch.setattr(RightOfWay, name, lambda _way, name=name: noted.append(name))

    make_archive_node().http.get(path)

    assert noted == ["take", "give_back"]
