"""When the turn of a waiting ticket will come."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from meteorpi_db.archives.downloads import Download, Downloads, link_digest
from meteorpi_db.archives.forecast import seconds_until_turn
from meteorpi_db.archives.queue import ArchiveQueue
from meteorpi_db.archives.queue_state import QueueRules
from meteorpi_db.archives.register import ArchiveRegister
from tests.archive.conftest import ArchiveNode, SetClock

A, B, C, D = (UUID(int=number) for number in range(1, 5))
SECOND = 1000


def download(ticket: UUID, sent: int, total: int | None, seconds: float = 10) -> Download:
    return Download(
        download_id=uuid4(),
        process="p",
        link=link_digest(str(ticket)),
        owner="",
        ticket_id=ticket,
        started_at=0,
        seen_at=round(seconds * SECOND),
        sent_bytes=sent,
        total_bytes=total,
    )


@pytest.mark.engines("sqlite")
def test_turn_comes_when_those_ahead_have_what_they_want() -> None:
    fast, slow = download(A, 2000, 4000), download(B, 1000, 6000)  # 200 and 100 bytes a second

    assert seconds_until_turn([], [A, B], [fast, slow], {}) == 10
    assert seconds_until_turn([C], [A, B], [fast, slow], {C: 3000}) == 30, "the one ahead ends at 30, B at 50"
    assert seconds_until_turn([C, D], [A, B], [fast, slow], {C: 3000, D: 6000}) == 50
    assert seconds_until_turn([], [A, C], [fast], {C: 1000}) == 5, "reserved, and not begun yet"
    parts = [fast, download(A, 1000, 6000)]
    assert seconds_until_turn([], [A], parts, {}) == 50, "the slot is free when the last part is there"


@pytest.mark.engines("sqlite")
def test_nothing_is_told_that_is_not_known() -> None:
    known = download(A, 2000, 4000)

    assert seconds_until_turn([], [A], [], {A: 10}) is None, "nobody downloads"
    assert seconds_until_turn([], [A], [download(A, 50, 100, seconds=0.5)], {}) is None, "just begun"
    assert seconds_until_turn([], [B], [download(B, 2000, None)], {}) is None, "no length"
    assert seconds_until_turn([C], [A], [known], {C: None}) is None
    assert seconds_until_turn([], [], [known], {}) is None


@pytest.mark.engines("sqlite")
@pytest.mark.contract("archive-3.9/wait")
def test_waiter_is_told_when_its_turn_will_come(archive_node: ArchiveNode) -> None:
    archive_node.add_files()
    clock = archive_node.clock
    rules = QueueRules(is_queued=True, slots=1)
    queue = ArchiveQueue(archive_node.db.transactions, rules, clock)
    first, second = (UUID(archive_node.ticket([{"search": {}}])["id"]) for _ in range(2))
    queue.enter(first, "a")
    running = queue.start(first, "process")
    assert isinstance(running, UUID)
    before = queue.enter(second, "b")

    ahead(clock, 10)
    state = replace(download(first, 500, 3000), download_id=running)
    assert queue.renew([running], {running: state}) == set()

    assert before.eta_seconds is None
    assert queue.look(second, "b").eta_seconds == 50
    assert queue.standing(second) == before, "the forecast alone is no change"
    assert queue.standing(first).eta_seconds is None


def test_connections_without_a_turn_are_known_to_all_and_keep_their_ticket(archive_node: ArchiveNode) -> None:
    """On every engine: they are added, renewed, told to end, and protect the ticket from being swept."""
    archive_node.add_files()
    downloads = Downloads(archive_node.db.transactions, archive_node.clock)
    register = ArchiveRegister(archive_node.db.transactions, archive_node.clock)
    kept, withdrawn = (UUID(archive_node.ticket([{"search": {}}], ttl=60)["id"]) for _ in range(2))
    of_directory = Download(download_id=uuid4(), process="p", link=link_digest("secret name"), owner="")
    going_on = [download(kept, 10, 20), download(withdrawn, 10, 20), of_directory]

    assert downloads.renew(going_on) == set()
    assert {each.download_id for each in downloads.running()} == {each.download_id for each in going_on}
    register.withdraw(withdrawn)
    ahead(archive_node.clock, 100)

    assert downloads.renew(going_on) == {going_on[1].download_id}
    assert register.sweep() == 1
    assert register.ticket(kept).is_gone(archive_node.clock())
    downloads.end([each.download_id for each in going_on[:2]])
    assert [each.ticket_id for each in downloads.running()] == [None]
    assert register.sweep() == 1
    ahead(archive_node.clock, 121)
    assert downloads.running() == []
    assert downloads.renew([]) == set()


def ahead(clock: SetClock, seconds: float) -> None:
    clock.ahead += timedelta(seconds=seconds)
