"""A node that keeps contents of blocks in a store of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.backup.restoring import RestoreOptions
from meteorpi_db.blocks.sweeping import READERS_GRACE
from meteorpi_db.filestore import open_file_store
from meteorpi_db.integrity import VerifyPlan
from meteorpi_db.sweeping import ORPHAN_GRACE
from meteorpi_model import now
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_server import MeteorApp, block_api
from meteorpi_server.settings import Settings
from tests.blocks.making import StoredBlocks
from tests.db.making import StandingClock, add_file, add_status

OpenNode = Callable[..., MeteorDatabase]


@pytest.fixture
def clock() -> StandingClock:
    """Far enough ahead for everything stored now to be old."""
    return StandingClock(now() + 2 * ORPHAN_GRACE)


@pytest.fixture
def open_node(tmp_path: Path, clock: StandingClock, request: pytest.FixtureRequest) -> OpenNode:
    """Call it for the node, with a store for blocks unless told otherwise; closed at the end."""

    def open_node(block_store: Path | None = tmp_path / "blocks", name: str = "node") -> MeteorDatabase:
        db = MeteorDatabase(
            tmp_path / f"{name}.db", tmp_path / name, clock=clock, block_store_path=block_store
        )
        request.addfinalizer(db.close)
        return db

    return open_node


def ids_in(path: Path) -> list[UUID]:
    return list(open_file_store(path).ids())


@pytest.mark.contract("F.1/block_content", "K-500/block_store")
def test_blocks_are_apart_from_files(tmp_path: Path, open_node: OpenNode) -> None:
    settings = Settings(
        db_path=str(tmp_path / "node.db"),
        file_store=str(tmp_path / "node"),
        block_store=str(tmp_path / "blocks"),
        block_accounts="dummy",
        block_dummy_token="word",
        block_insecure=True,
    )
    with settings.open_database() as db:
        meteor_app = MeteorApp(db, settings)
        block_api.add_routes(meteor_app=meteor_app)
        with meteor_app.app.test_client() as client:
            where, word = "/api/v0/files/first/blocks/a", {"Authorization": "Token word"}
            assert client.post(where, data=b"content", headers=word).status_code == 204
            assert client.get(where).data == b"content"
    assert len(ids_in(tmp_path / "blocks")) == 1
    assert ids_in(tmp_path / "node") == []


@pytest.mark.contract("S-111", "F.1/block_content")
def test_a_node_that_gets_a_store_for_blocks_goes_on_serving_those_it_has(
    tmp_path: Path, open_node: OpenNode, clock: StandingClock
) -> None:
    before = StoredBlocks(open_node(block_store=None))
    before.make()
    old = before.store("old", b"old").row.content_id
    replaced = before.store("replaced", b"one").row.content_id
    db = open_node()
    blocks = StoredBlocks(db)
    new = blocks.store("replaced", b"two").row.content_id
    clock.time += 2 * READERS_GRACE
    report = db.sweep_contents()

    assert report.released == 1
    assert replaced not in ids_in(tmp_path / "node")
    assert b"".join(db.stores.blocks.open(old)) == b"old"
    assert ids_in(tmp_path / "blocks") == [new]


@pytest.mark.contract("B.6/verify", "B.6/sweep", "S-140", "F.1/block_content")
def test_upkeep_looks_after_both_stores(tmp_path: Path, open_node: OpenNode) -> None:
    db = open_node()
    add_status(db)
    kept = add_file(db, content=b"file")
    blocks = StoredBlocks(db)
    blocks.make()
    torn = blocks.store("torn", b"torn").row.content_id
    twin = blocks.store("twin", b"torn").row.content_id
    orphans = [db.store.put(UUID(int=1), [b"one"]), db.stores.blocks.put(UUID(int=2), [b"two"])]
    (tmp_path / "blocks" / torn.hex).chmod(0o600)
    (tmp_path / "blocks" / torn.hex).write_bytes(b"tear")
    report = db.verify_contents(VerifyPlan(deep=True, repair=True, sweep=True))

    assert len(orphans) == len(report.orphaned) == 2
    assert (report.records, report.mended) == (3, [torn])
    assert b"".join(db.stores.blocks.open(torn)) == b"torn"
    assert ids_in(tmp_path / "node") == [kept.file_id]
    assert ids_in(tmp_path / "blocks") == sorted([torn, twin])
    assert db.verify(deep=True).is_clean


@pytest.mark.contract("K-524", "F.1/block_content")
def test_a_backup_has_what_is_in_either_store(tmp_path: Path, open_node: OpenNode) -> None:
    db = open_node()
    add_status(db)
    add_file(db, content=b"file")
    blocks = StoredBlocks(db)
    blocks.make()
    content_id = blocks.store("path", b"block").row.content_id
    db.backup_to(tmp_path / "backup")
    MeteorDatabase.restore_from(
        tmp_path / "backup",
        db_path=tmp_path / "again.db",
        file_store_path=tmp_path / "again",
        options=RestoreOptions(),
    )
    again = open_node(name="again", block_store=tmp_path / "other-blocks")

    assert b"".join(again.stores.blocks.open(content_id)) == b"block"
    assert again.verify(deep=True).is_clean


def test_starting_over_empties_both(tmp_path: Path, open_node: OpenNode) -> None:
    db = open_node()
    add_status(db)
    add_file(db, content=b"file")
    blocks = StoredBlocks(db)
    blocks.make()
    blocks.store("path", b"block")
    db.clear_database()

    assert ids_in(tmp_path / "node") == ids_in(tmp_path / "blocks") == []


@pytest.mark.parametrize("place", ["node", "blocks"])
def test_a_backup_inside_either_store_is_refused(tmp_path: Path, open_node: OpenNode, place: str) -> None:
    node = open_node()

    with pytest.raises(InvalidDocumentError, match="inside the file store"):
        node.backup_to(tmp_path / place / "backups")
