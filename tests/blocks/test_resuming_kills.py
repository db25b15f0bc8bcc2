"""A process that dies at any step of a resumable upload: what was told stays, and others finish it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, cast

import pytest

from meteorpi_db.blocks.changes import Terms, Upload
from meteorpi_db.blocks.recounting import recount
from meteorpi_db.blocks.resuming import Piece, ResumableUploads
from meteorpi_db.blocks.upload_locks import Patience
from meteorpi_db.blocks.uploads import Plan
from meteorpi_db.connections import Transactions
from meteorpi_db.filestore import FileStore
from meteorpi_db.sweeping import ORPHAN_GRACE
from meteorpi_model import now
from meteorpi_model.errors import NotFoundError
from tests.blocks.making import ACCOUNT, PREFIX, StoredBlocks, digest
from tests.conftest import OpenDatabase
from tests.db.making import StandingClock, stored_ids

pytestmark = pytest.mark.engines("sqlite", "postgresql")

CONTENT: Final = bytes(range(256)) * 20
FIRST: Final = 3000
TERMS: Final = Terms(account_id=ACCOUNT)
AT_ONCE: Final = Patience(silent_seconds=0)


class KilledError(BaseException):
    """Nothing of the process goes on, no handler of errors either."""


class Life:
    """A process that dies at one of its steps; a step is before or after something outside is done."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    @property
    def is_over(self) -> bool:
        return self._left < 0

    def step(self) -> None:
        self._left -= 1
        if self.is_over:
            raise KilledError

    @contextmanager
    def steps(self) -> Iterator[None]:
        self.step()
        yield
        self.step()


class Mortal:
    """What a process sees of something outside, for as long as it lives."""

    def __init__(self, inner: Any, life: Life) -> None:
        self._inner = inner
        self._life = life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            self._life.step()
            return found
        return self._around(found) if name in _STEPS else found

    def _around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            with self._life.steps():
                result = function(*arguments, **named)
            return Mortal(result, self._life) if function.__name__ == "parts" else result

        return call


_STEPS: Final = {"write", "parts", "append", "finish", "discard", "delete", "stat"}


class Site:
    """A node, and processes that serve it."""

    def __init__(self, open_database: OpenDatabase) -> None:
        self.clock = StandingClock(now())
        self.db = open_database(clock=self.clock)
        self.blocks = StoredBlocks(self.db)
        self.blocks.make()

    def process(self, life: Life) -> ResumableUploads:
        transactions = cast("Transactions", Mortal(self.db.transactions, life))
        store = cast("FileStore", Mortal(self.db.store, life))
        return ResumableUploads(transactions, store, self.clock, patience=AT_ONCE)

    def sweep(self) -> None:
        """Much later."""
        self.clock.time += 2 * ORPHAN_GRACE
        self.db.sweep_contents()


class Client:
    """Somebody with an upload, who remembers what was told of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.told = -1

    def upload(self, process: ResumableUploads) -> None:
        """Do all of it, from wherever it is."""
        try:
            offset = process.look(self.name, TERMS).offset
        except NotFoundError:
            assert self.told < 0  # nobody was told that there is one
            upload = Upload(prefix=PREFIX, path=self.name, upload_id=self.name)
            plan = Plan(upload=upload, length=len(CONTENT), sha256=digest(CONTENT))
            offset = process.begin(plan, TERMS).offset
        while True:
            assert offset >= self.told
            self.told = offset
            if offset == len(CONTENT):
                return
            stop = FIRST if offset < FIRST else len(CONTENT)
            piece = Piece(offset=offset, chunks=[CONTENT[offset:stop]])
            offset = process.receive(self.name, piece, TERMS).offset


@pytest.fixture
def site(open_database: OpenDatabase) -> Site:
    return Site(open_database)


@pytest.mark.contract("K-304", "K-305/after-kill", "K-306", "K-405", "J-04/killed")
def test_killed_at_any_step_an_upload_is_finished_by_others(site: Site) -> None:
    steps, life = 0, Life(0)
    while life.is_over or steps == 0:
        client, life, steps = Client(f"a{steps}"), Life(steps), steps + 1
        with suppress(KilledError):
            client.upload(site.process(life))
        assert (site.blocks.find(client.name) is not None) or client.told < len(CONTENT)
        client.upload(site.process(Life(1_000_000)))
        assert site.blocks.find(client.name) == digest(CONTENT)

    assert steps > 20
    assert site.blocks.counted() == (steps * len(CONTENT), steps)
    assert recount(site.db.transactions) == []
    site.sweep()
    assert len(stored_ids(site.db)) == steps
    assert site.db.verify(deep=True).is_clean


@pytest.mark.contract("K-308", "J-04/killed")
def test_killed_at_any_step_of_its_end_an_upload_leaves_nothing(site: Site) -> None:
    steps, life = 0, Life(0)
    while life.is_over or steps == 0:
        whole = site.process(Life(1_000_000))
        upload_id = f"upload-{steps}"
        whole.begin(Plan(upload=Upload(prefix=PREFIX, path="a", upload_id=upload_id), length=5), TERMS)
        whole.receive(upload_id, Piece(offset=0, chunks=[b"123"]), TERMS)
        life, steps = Life(steps), steps + 1
        with suppress(KilledError):
            site.process(life).discard(upload_id, TERMS)

    site.sweep()
    assert site.db.sweep_contents().uploads == 0
    assert site.db.store.sweep(0, parts_older_than_seconds=0, now=site.clock()).removed == 0
    assert stored_ids(site.db) == set()
