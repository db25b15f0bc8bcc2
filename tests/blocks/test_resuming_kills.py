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

pytestmark = pytest.mark.engines("sqlite")

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
    """A node with an upload, and what was told of it."""

    def __init__(self, open_database: OpenDatabase, path: str) -> None:
        self.clock = StandingClock(now())
        self.db = open_database(path, clock=self.clock)
        self.blocks = StoredBlocks(self.db)
        self.blocks.make()
        self.told = -1

    def process(self, life: Life) -> ResumableUploads:
        transactions = cast("Transactions", Mortal(self.db.transactions, life))
        store = cast("FileStore", Mortal(self.db.store, life))
        return ResumableUploads(transactions, store, self.clock, patience=AT_ONCE)

    def upload(self, process: ResumableUploads) -> None:
        """Do all of it, from wherever it is."""
        upload = Upload(prefix=PREFIX, path="a", upload_id="one")
        try:
            offset = process.look("one", TERMS).offset
        except NotFoundError:
            assert self.told < 0  # nobody was told that there is one
            plan = Plan(upload=upload, length=len(CONTENT), sha256=digest(CONTENT))
            offset = process.begin(plan, TERMS).offset
        while True:
            assert offset >= self.told
            self.told = offset
            if offset == len(CONTENT):
                return
            stop = FIRST if offset < FIRST else len(CONTENT)
            piece = Piece(offset=offset, chunks=[CONTENT[offset:stop]])
            offset = process.receive("one", piece, TERMS).offset


@pytest.mark.contract("K-304", "K-305", "K-306", "K-405", "J-04")
def test_killed_at_any_step_an_upload_is_finished_by_others(
    open_database: OpenDatabase, new_database: Callable[[], str]
) -> None:
    steps = 0
    while True:
        site, life = Site(open_database, new_database()), Life(steps)
        with suppress(KilledError):
            site.upload(site.process(life))
        assert (site.blocks.find("a") is not None) or site.told < len(CONTENT)
        site.upload(site.process(Life(1_000_000)))

        assert site.blocks.find("a") == digest(CONTENT)
        assert site.blocks.counted() == (len(CONTENT), 1)
        assert recount(site.db.transactions) == []
        site.clock.time += 2 * ORPHAN_GRACE
        site.db.sweep_contents()
        assert len(stored_ids(site.db)) == 1
        assert site.db.verify(deep=True).is_clean
        if not life.is_over:
            break
        steps += 1
    assert steps > 20


@pytest.mark.contract("K-308", "J-04")
def test_killed_at_any_step_of_its_end_an_upload_leaves_nothing(
    open_database: OpenDatabase, new_database: Callable[[], str]
) -> None:
    site, steps, life = Site(open_database, new_database()), 0, Life(0)
    while life.is_over or steps == 0:
        whole = site.process(Life(1_000_000))
        upload_id = f"upload-{steps}"
        whole.begin(Plan(upload=Upload(prefix=PREFIX, path="a", upload_id=upload_id), length=5), TERMS)
        whole.receive(upload_id, Piece(offset=0, chunks=[b"123"]), TERMS)
        life, steps = Life(steps), steps + 1
        with suppress(KilledError):
            site.process(life).discard(upload_id, TERMS)

    site.clock.time += 2 * ORPHAN_GRACE
    site.db.sweep_contents()
    assert site.db.sweep_contents().uploads == 0
    assert site.db.store.sweep(0, parts_older_than_seconds=0, now=site.clock()).removed == 0
    assert stored_ids(site.db) == set()
