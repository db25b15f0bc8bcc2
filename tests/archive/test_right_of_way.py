"""Other requests pass archives that are being sent, but not for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from meteorpi_server.archive_api.right_of_way import LONGEST_PAUSE_SECONDS, SHORT_SECONDS, RightOfWay
from tests.archive.conftest import ArchiveNode

pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def other() -> Iterator[ThreadPoolExecutor]:
    """A thread that works on another request."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_nobody_pauses_while_nothing_else_is_worked_on() -> None:
    way = RightOfWay(clock=lambda: pytest.fail("nobody has to ask for the time"))

    way.pause()


def test_archive_goes_on_when_the_last_request_has_its_answer(other: ThreadPoolExecutor) -> None:
    way = RightOfWay(clock=lambda: 0.0)  # no time goes by: a pause ends with the requests, or not at all
    way.take()
    other.submit(way.take).result()
    archive = threading.Thread(target=way.pause)
    archive.start()

    way.give_back()
    archive.join(0.2)
    assert archive.is_alive()
    other.submit(way.give_back).result()
    archive.join(20)

    assert not archive.is_alive()


def test_archive_does_not_pause_for_longer_than_it_may(other: ThreadPoolExecutor) -> None:
    way = RightOfWay()
    other.submit(way.take).result()

    begun = time.monotonic()
    way.pause()

    assert time.monotonic() - begun >= LONGEST_PAUSE_SECONDS


def test_request_that_takes_long_has_right_of_way_no_more(other: ThreadPoolExecutor) -> None:
    times = iter([0.0, SHORT_SECONDS, SHORT_SECONDS])
    way = RightOfWay(clock=lambda: next(times))
    other.submit(way.take).result()

    way.pause()  # were it to wait, it would ask for the time again


@pytest.mark.parametrize("path", ["/archive/healthz", "/nowhere", "/archive/%00"])
def test_requests_have_right_of_way_until_they_are_answered_whatever_the_answer(
    path: str, make_archive_node: Callable[..., ArchiveNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[str] = []
    for name in ("take", "give_back"):
        monkeypatch.setattr(RightOfWay, name, lambda _way, name=name: noted.append(name))

    make_archive_node().http.get(path)

    assert noted == ["take", "give_back"]
