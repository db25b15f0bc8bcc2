"""What every broker of events does, and what becomes of it when its server fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from sqlalchemy import text

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks.event_log import EventLog
from meteorpi_db.testing.processes import free_port, wait_until
from meteorpi_db.testing.redis_server import RedisServer
from meteorpi_model.errors import ConfigurationError, UnavailableError
from meteorpi_server.block_events import EventBroker, EventHub, HubLimits, LocalBroker, open_broker
from meteorpi_server.block_events.database import DatabaseBroker
from meteorpi_server.block_events.publishing import Publisher
from meteorpi_server.block_events.redis_broker import RedisBroker
from tests.blocks.making import PREFIX, Blocks
from tests.conftest import ENGINE_NAMES

SECONDS = 60.0
SQLITE = pytest.mark.engines("sqlite")
LIMITS = HubLimits(in_threads=10)


@pytest.fixture
def brokers(db: MeteorDatabase, redis_server: RedisServer) -> Iterator[Callable[[str], EventBroker]]:
    """Call it for a broker of this kind, as another process has it."""
    with ExitStack() as stack:

        def make(kind: str) -> EventBroker:
            if kind == "database":
                broker: EventBroker = DatabaseBroker(db.transactions, poll_seconds=0.05)
            else:
                broker = open_broker(redis_server.url if kind == "redis" else kind, db.transactions)
            stack.callback(broker.close)
            return broker

        yield make


class Site:
    """A process that shares the database with others: its hub, and one who listens there."""

    def __init__(self, db: MeteorDatabase, broker: EventBroker) -> None:
        self.hub = EventHub(EventLog(db.transactions, db.clock), broker, LIMITS)

    def join(self, path: str | None = None) -> None:
        self.listener = self.hub.join(PREFIX, path, "a")

    def heard(self) -> int:
        """Number of the event that is told next."""
        told = self.listener.take(SECONDS)
        assert told is not None
        return told.number

    def close(self) -> None:
        self.hub.leave(self.listener)
        self.hub.close()


@pytest.mark.engines(*ENGINE_NAMES)
@pytest.mark.contract("K-153", "K-152")
def test_changes_are_heard_elsewhere_through_the_database(
    db: MeteorDatabase, blocks: Blocks, brokers: Callable[[str], EventBroker]
) -> None:
    _hear_elsewhere(db, blocks, brokers, "database")


@SQLITE
@pytest.mark.contract("K-153", "K-152", "K-500/block_events", "issue-5.3")
def test_changes_are_heard_elsewhere_through_redis(
    db: MeteorDatabase, blocks: Blocks, brokers: Callable[[str], EventBroker]
) -> None:
    _hear_elsewhere(db, blocks, brokers, "redis")


def _hear_elsewhere(
    db: MeteorDatabase, blocks: Blocks, brokers: Callable[[str], EventBroker], kind: str
) -> None:
    with closing(Site(db, brokers(kind))) as here, closing(Site(db, brokers(kind))) as there:
        here.join()
        there.join("b")

        for path in ("a", "b", "b"):
            blocks.store(path, b"x")
            here.hub.announce(PREFIX)

        assert [here.heard() for _ in range(3)] == [1, 2, 3]
        assert [there.heard() for _ in range(2)] == [2, 3]


@SQLITE
@pytest.mark.contract("K-153")
@pytest.mark.parametrize("kind", ["local", "database", "redis"])
def test_changes_are_heard_here(
    db: MeteorDatabase, blocks: Blocks, brokers: Callable[[str], EventBroker], kind: str
) -> None:
    broker = brokers(kind)
    broker.check()
    with closing(Site(db, broker)) as here:
        here.join()
        blocks.store("a", b"x")
        here.hub.announce(PREFIX)

        assert here.heard() == 1
        assert here.hub.figures.counted().published == 1


@pytest.mark.engines("postgresql")
@pytest.mark.contract("K-153")
def test_postgresql_says_when_there_is_something_to_see(db: MeteorDatabase, blocks: Blocks) -> None:
    """Nobody looks by itself here."""
    with ExitStack() as stack:
        here, there = (stack.enter_context(closing(DatabaseBroker(db.transactions))) for _ in range(2))
        woken: list[str | None] = []
        there.listen(woken.append)
        wait_until(lambda: bool(there.connections), SECONDS, "LISTEN")

        here.announce(PREFIX)

        wait_until(lambda: PREFIX in woken, SECONDS, "NOTIFY")
        assert woken[0] is None
        woken.clear()
        _cut_off_listeners(db)
        here.announce("other")
        wait_until(lambda: None in woken, SECONDS, "LISTEN again")
        here.announce(PREFIX)
        wait_until(lambda: PREFIX in woken, SECONDS, "NOTIFY again")
        assert there.poll_seconds > here.poll_seconds
        pool: Any = db.transactions.engine.pool
        wait_until(lambda: pool.checkedout() == 0, SECONDS, "connections that are given back")
        there.close()
        assert there.connections == 0


def _cut_off_listeners(db: MeteorDatabase) -> None:
    """As a server does that is restarted."""
    ask = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
    with db.transactions.reading() as connection:
        assert connection.execute(text(f"{ask} AND datname = current_database()")).all()


@SQLITE
@pytest.mark.contract("K-152", "KD-16", "J-04/broker")
def test_a_broker_that_is_gone_makes_events_late_and_nothing_else(db: MeteorDatabase, blocks: Blocks) -> None:
    with RedisServer() as server, ExitStack() as stack:
        here, there = (
            stack.enter_context(closing(RedisBroker(server.url, socket_seconds=1, failing_seconds=0.1)))
            for _ in range(2)
        )
        site = Site(db, there)
        site.join()
        stack.enter_context(closing(site))
        wait_until(lambda: bool(there.connections), SECONDS, "subscription")
        server.stop()

        blocks.store("a", b"x")
        here.announce(PREFIX)
        assert site.heard() == 1
        with pytest.raises(UnavailableError):
            there.check()

        server.start()
        wait_until(lambda: bool(there.connections), SECONDS, "subscription again")
        blocks.store("a", b"y")
        here.announce(PREFIX)
        assert site.heard() == 2


@SQLITE
def test_nobody_is_asked_before_there_is_something_to_say(db: MeteorDatabase) -> None:
    """Nor is a Redis that is not there noticed by whoever changes something."""
    with closing(RedisBroker(f"redis://127.0.0.1:{free_port()}/0")) as broker:
        assert broker.connections == 0
        broker.announce(PREFIX)


def test_what_cannot_be_said_is_said_later() -> None:
    said: list[list[str]] = []
    is_told = threading.Event()

    def send(prefixes: Any) -> None:
        said.append(list(prefixes))
        if len(said) == 1:
            raise UnavailableError("not now")
        is_told.set()

    with closing(Publisher(send, pause_seconds=0.01)) as publisher:
        publisher.add("p")
        assert is_told.wait(SECONDS)

    assert said == [["p"], ["p"]]


@pytest.mark.contract("K-500/block_events")
@SQLITE
@pytest.mark.parametrize("name", ["", "Local", "http://a:secret@b", "redis://a:secret@b:port"])
def test_brokers_that_do_not_exist_are_refused(db: MeteorDatabase, name: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_broker(name, db.transactions)

    assert "secret" not in str(refused.value)


@SQLITE
def test_the_local_broker_says_nothing(db: MeteorDatabase) -> None:
    broker = open_broker("local", db.transactions)

    broker.announce(PREFIX)

    assert isinstance(broker, LocalBroker)
    assert broker.connections == 0
    assert isinstance(open_broker("database", db.transactions), DatabaseBroker)
