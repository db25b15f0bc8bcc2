"""Random sequences of everything that can happen to objects, against a dictionary that does the same."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks import events
from meteorpi_db.blocks.names import is_block, tag_of
from meteorpi_model.errors import PreconditionFailedError, QuotaReachedError
from tests.blocks.making import PREFIX, Blocks, digest

QUOTA = 400_000
PATHS = st.sampled_from(["index", "index/x", "blocks/1", "block/2"])
CONTENTS = st.sampled_from([b"", b"a", b"b" * 100_000, b"c" * 100_000, b"d" * 200_000, b"e" * 300_000])


@pytest.mark.contract("J-06", "K-214", "K-406")
class BlocksMachine(RuleBasedStateMachine):
    """One account with one prefix and little room."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="meteorpi-test-"))
        self.db = MeteorDatabase(str(self.root / "node.db"), str(self.root / "files"))
        self.blocks = Blocks(self.db.transactions, quota=QUOTA)
        self.blocks.make()
        self.held: dict[str, bytes] = {}
        self.told: list[tuple[str, str]] = []

    def teardown(self) -> None:
        self.db.close()
        shutil.rmtree(self.root)

    @rule(path=PATHS, content=CONTENTS, tag_of_content=st.none() | CONTENTS, only_new=st.booleans())
    def upload(self, path: str, content: bytes, tag_of_content: bytes | None, only_new: bool) -> None:
        demands = {} if tag_of_content is None else {"if_match": tag_of(digest(tag_of_content))}
        demands |= {"if_none_match": "*"} if only_new else {}
        old = self.held.get(path)
        if (tag_of_content is not None and tag_of_content != old) or (only_new and old is not None):
            with pytest.raises(PreconditionFailedError):
                self.blocks.store(path, content, **demands)
        elif old != content and not self.has_room(path, old, content):
            with pytest.raises(QuotaReachedError):
                self.blocks.store(path, content, **demands)
        else:
            stored = self.blocks.store(path, content, **demands)
            assert stored.is_created == (old is None)
            self.held[path] = content
            self.told.append(("POST", path))

    @rule(path=PATHS)
    def remove(self, path: str) -> None:
        assert (self.blocks.remove(path) is not None) == (path in self.held)
        if self.held.pop(path, None) is not None:
            self.told.append(("DELETE", path))

    @rule()
    def restart(self) -> None:
        self.db.close()
        self.db = MeteorDatabase(str(self.root / "node.db"), str(self.root / "files"))
        self.blocks.transactions = self.db.transactions

    @invariant()
    def agrees(self) -> None:
        used = sum(map(len, self.held.values()))
        assert self.blocks.counted() == self.blocks.recounted() == (used, len(self.held))
        assert self.blocks.contents_in_use() == len(self.held)
        for path, content in self.held.items():
            assert self.blocks.find(path) == digest(content)
        with self.db.transactions.reading() as connection:
            told = events.events_after(connection, PREFIX, 0, 10**6)
        assert [(event.operation, event.path) for event in told] == self.told

    def has_room(self, path: str, old: bytes | None, new: bytes) -> bool:
        growth = len(new) - len(old or b"")
        after = sum(map(len, self.held.values())) + growth
        if after <= QUOTA or (old is not None and growth <= 0):
            return True
        return old is not None and not is_block(path) and growth < 153_600 and after <= QUOTA + (16 << 20)


TestBlocks = BlocksMachine.TestCase
TestBlocks.settings = settings(max_examples=25, stateful_step_count=30)
