"""Turns at the file store: bounded, fair, and never held by who waits for a client."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from queue import SimpleQueue
from uuid import uuid4

import pytest

from meteorpi_db.filestore import MemoryFileStore
from meteorpi_db.testing.processes import wait_until
from meteorpi_model.errors import BusyError
from meteorpi_server.block_api.transfers import Transfers, Turns

SECONDS = 60.0
BRIEFLY = 0.01


@pytest.mark.contract("K-411", "A.8/transfers", "K-500/block_transfers")
def test_turns_are_given_in_the_order_in_which_they_are_asked_for() -> None:
    turns, order = Turns(1, SECONDS), SimpleQueue[int]()

    def wait(number: int) -> None:
        with turns.one():
            order.put(number)

    with ThreadPoolExecutor(5) as pool, turns.one():
        for number in range(5):
            pool.submit(wait, number)
            wait_until(lambda n=number: turns.figures().waiting == n + 1, SECONDS, "place in the queue")  # type: ignore[misc]

    assert [order.get(timeout=SECONDS) for _ in range(5)] == [0, 1, 2, 3, 4]
    figures = turns.figures()
    assert (figures.in_use, figures.waiting, figures.waits) == (0, 0, 5)
    assert figures.waited_seconds > 0


@pytest.mark.contract("K-411")
@pytest.mark.parametrize(("total", "reads", "writes"), [(1, 1, 1), (2, 1, 1), (3, 2, 1), (10, 5, 5)])
def test_reading_and_writing_share_the_turns(total: int, reads: int, writes: int) -> None:
    transfers = Transfers(total, SECONDS)

    assert (transfers.reads.figures().total, transfers.writes.figures().total) == (reads, writes)


@pytest.mark.contract("K-411", "K-500/block_transfer_wait_seconds")
def test_who_waits_too_long_is_refused_and_loses_no_turn() -> None:
    turns = Turns(2, BRIEFLY)

    with turns.one(), turns.one(), pytest.raises(BusyError):
        turns.take()

    with turns.one(), turns.one():
        assert turns.figures().in_use == 2
    assert turns.figures().in_use == 0


@pytest.mark.contract("K-411", "K-412")
def test_slow_clients_hold_no_turn() -> None:
    """More uploads and downloads stand still than there are turns, and others go on."""
    transfers, store = Transfers(2, BRIEFLY), MemoryFileStore()
    content_id, content = uuid4(), bytes(3 << 20)
    store.put(content_id, [content])
    go_on = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b"first"
        assert go_on.wait(SECONDS)
        yield b"second"

    def upload() -> int:
        return transfers.write(slowly(), lambda chunks: store.put(uuid4(), chunks)).size

    with ExitStack() as stack, ThreadPoolExecutor(3) as pool:
        readers = [
            stack.enter_context(closing(transfers.open(store, content_id, 0, len(content)))) for _ in range(3)
        ]
        firsts = [next(reader) for reader in readers]
        uploads = [pool.submit(upload) for _ in range(3)]
        quick = transfers.write([b"quick"], lambda chunks: store.put(uuid4(), chunks))
        go_on.set()

        assert all(firsts)
        assert quick.size == 5
        assert [each.result(SECONDS) for each in uploads] == [11, 11, 11]
    assert (transfers.reads.figures().in_use, transfers.writes.figures().in_use) == (0, 0)


@pytest.mark.contract("K-411")
def test_uploads_do_not_keep_downloads_from_the_store() -> None:
    transfers, store = Transfers(2, BRIEFLY), MemoryFileStore()
    content_id = uuid4()
    store.put(content_id, [b"content"])

    with transfers.writes.one():
        with closing(transfers.open(store, content_id, 0, 7)) as chunks:
            assert b"".join(chunks) == b"content"
        with pytest.raises(BusyError):
            transfers.write([b"more"], lambda given: store.put(uuid4(), given))

    with transfers.reads.one(), pytest.raises(BusyError):
        transfers.open(store, content_id, 0, 7)


@pytest.mark.contract("K-411")
def test_an_upload_that_breaks_gives_its_turn_back_once() -> None:
    transfers, store = Transfers(2, BRIEFLY), MemoryFileStore()

    def broken() -> Iterator[bytes]:
        yield b"first"
        raise OSError("cut off")

    for _ in range(3):
        with pytest.raises(OSError, match="cut off"):
            transfers.write(broken(), lambda chunks: store.put(uuid4(), chunks))

    assert transfers.writes.figures().in_use == 0
    assert list(store.ids()) == []
