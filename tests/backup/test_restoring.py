"""Restoring: only whole backups, only into what is empty, and again after every interruption."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Table, select

from meteorpi_db import MeteorDatabase, tables
from meteorpi_db.backup import Node, Repository, RestoreOptions, check_snapshot, restoring, summary
from meteorpi_db.backup.shape import describe_table, metadata_from
from meteorpi_db.connections import Transactions, open_database
from meteorpi_db.dialects import ExactText
from meteorpi_db.filestore import LocalFileStore
from meteorpi_db.migrations import SCHEMA, Schema, SchemaEditor, Step, schema_version
from meteorpi_db.testing.servers import PASSWORD, USER
from meteorpi_model import now
from meteorpi_model.errors import (
    BackupDamagedError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    SchemaVersionError,
)
from tests.backup.conftest import Restore
from tests.backup.nodes import contents_of, digests, fill
from tests.conftest import OpenDatabase
from tests.db.making import add_export, add_file, add_status

ON_SQLITE = pytest.mark.engines("sqlite")


@pytest.fixture
def snapshot(db: MeteorDatabase, backups: Path) -> Path:
    """A backup of a full node."""
    fill(db)
    assert db.backup_to(backups).is_complete
    return Repository(backups).find()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The database to restore into; it does not exist."""
    return tmp_path / "restored.db"


def untouched(target: Path) -> bool:
    """Nothing was made by a restore that was refused."""
    key = target.with_name(f"{target.name}.key")
    return not target.exists() and not key.exists() and not (target.parent / "restored-files").exists()


# --- damage ------------------------------------------------------------------------------------------


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def change_a_row(path: Path) -> None:
    """A part that can be read, and says something else."""
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"camera one", b"camera xne")))


def change_manifest(path: Path) -> None:
    version = f'"schema_version": {SCHEMA.version}'
    path.write_text(path.read_text().replace(version, version + "0"))


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "bit flipped in a table": ("database/file_record.jsonl.gz", flip_a_bit),
    "table cut short": ("database/file_meta.jsonl.gz", cut),
    "table missing": ("database/event.jsonl.gz", Path.unlink),
    "row changed": ("database/camera_status.jsonl.gz", change_a_row),
    "list of contents cut short": ("contents.jsonl.gz", cut),
    "list of contents missing": ("contents.jsonl.gz", Path.unlink),
    "key changed": ("secret.key", flip_a_bit),
    "key missing": ("secret.key", Path.unlink),
    "manifest edited": ("manifest.json", change_manifest),
    "manifest missing": ("manifest.json", Path.unlink),
    "sums missing": ("SHA256SUMS", Path.unlink),
}


@ON_SQLITE
@pytest.mark.contract("issue-3.5/restore-damaged")
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_part_is_refused_and_named(
    snapshot: Path, restore: Restore, backups: Path, target: Path, damage: str
) -> None:
    name, spoil = DAMAGES[damage]
    spoil(snapshot / name)

    with pytest.raises(BackupDamagedError, match=Path(name).name):
        restore(target)
    with pytest.raises(BackupDamagedError):
        restore(target, options=RestoreOptions(partial=True))

    assert untouched(target)
    report = check_snapshot(Repository(backups), snapshot)
    assert not report.is_sound
    assert len(report.damaged_parts) == 1
    assert Path(name).name in report.damaged_parts[0]


@ON_SQLITE
@pytest.mark.contract("issue-3.5/restore-damaged")
@pytest.mark.parametrize(
    ("spoil", "finding"), [(flip_a_bit, "damaged"), (cut, "damaged"), (Path.unlink, "missing")]
)
def test_damaged_content_is_refused_and_named_and_the_others_can_be_had(
    db: MeteorDatabase,
    snapshot: Path,
    restore: Restore,
    backups: Path,
    target: Path,
    spoil: Callable[[Path], object],
    finding: str,
) -> None:
    sha256 = hashlib.sha256(b"metas").hexdigest()
    spoil(backups / "contents" / sha256[:2] / sha256)

    with pytest.raises(BackupDamagedError, match=sha256):
        restore(target)
    assert untouched(target)
    report = check_snapshot(Repository(backups), snapshot)
    assert (report.as_dict()[finding], report.is_sound) == ([sha256], False)

    partial = restore(target, options=RestoreOptions(partial=True))

    (lost,) = partial.lost
    assert not partial.is_complete
    assert partial.verified.missing == [lost]
    with MeteorDatabase(target, target.parent / "restored-files") as node:
        assert set(contents_of(node)) == set(contents_of(db)) - {lost}


def rewrite(snapshot: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest and all that proves it, as other software might have written it."""
    path, sums = snapshot / "manifest.json", snapshot / "SHA256SUMS"
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    sums.write_text(sums.read_text().replace(old, hashlib.sha256(path.read_bytes()).hexdigest()))


@ON_SQLITE
@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.pop("engine"),
        lambda document: document["tables"].update({"../../etc": document["contents"]}),
        lambda document: document["shapes"]["event"].pop("columns"),
        lambda document: document["shapes"]["event"]["columns"][0].update(type="unheard of"),
        lambda document: document.update(tables=[]),
        lambda document: document.update(tables={}),
        lambda document: document["shapes"].pop("audit_entry"),
    ],
    ids=[
        "member missing",
        "path for a table",
        "shape missing",
        "unknown type",
        "tables are none",
        "no tables",
        "table not described",
    ],
)
def test_manifest_that_makes_no_sense_is_refused(
    snapshot: Path, restore: Restore, target: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    rewrite(snapshot, change)

    with pytest.raises(BackupDamagedError):
        restore(target)

    assert not target.exists()


# --- versions ----------------------------------------------------------------------------------------


@ON_SQLITE
@pytest.mark.contract("issue-3.5/restore-versions")
def test_backup_of_newer_software_is_refused(snapshot: Path, restore: Restore, target: Path) -> None:
    rewrite(snapshot, lambda document: document.update(schema_version=99))
    with pytest.raises(SchemaVersionError, match="version 99"):
        restore(target)

    rewrite(snapshot, lambda document: document.update(format=2))
    with pytest.raises(ConfigurationError, match="format 2"):
        restore(target)

    assert untouched(target)


def next_schema() -> Schema:
    """The present schema and one step more, which changes shapes and rows."""
    metadata = metadata_from({name: describe_table(table) for name, table in tables.metadata.tables.items()})
    metadata.tables["high_water_mark"].append_column(Column("note", ExactText(20)))
    Table("colour", metadata, Column("name", ExactText(20), primary_key=True))

    def upgrade(editor: SchemaEditor) -> None:
        editor.add_column("high_water_mark", "note", ExactText(20))
        editor.create_table(metadata.tables["colour"])
        mark = metadata.tables["high_water_mark"]
        editor.execute(mark.update().values(note="from the step"))

    steps = (*SCHEMA.steps, Step("marks have notes", upgrade))
    return Schema(metadata, steps)


@pytest.mark.contract("issue-3.5/restore-versions")
def test_backup_of_the_schema_before_is_carried_forward(
    snapshot: Path, backups: Path, bare_database: str, tmp_path: Path, db: MeteorDatabase
) -> None:
    schema = next_schema()
    before = digests(db.transactions)
    with closing(open_database(bare_database, USER, PASSWORD)) as transactions:
        report = restored_with(transactions, backups, tmp_path, schema)

        assert report.is_complete
        with transactions.reading() as connection:
            assert schema_version(connection) == SCHEMA.version + 1
            notes = set(
                connection.execute(select(schema.metadata.tables["high_water_mark"].c.note)).scalars()
            )
            assert connection.execute(select(schema.metadata.tables["colour"])).all() == []
        assert notes == {"from the step"}
        after = digests(transactions)
        changed = {name for name, digest in after.items() if digest != before[name]}
        assert changed == {"export_config"}  # disabled
    assert list(tmp_path.rglob("*.backup")) == []


def restored_with(transactions: Transactions, backups: Path, tmp_path: Path, schema: Schema) -> Any:
    store = LocalFileStore(tmp_path / "restored-files")
    key_file = tmp_path / "restored.key"
    node = Node(transactions=transactions, store=store, key_file=key_file, installation_id="")
    return restoring.restore(node, Repository(backups), now(), schema=schema)


# --- where to ----------------------------------------------------------------------------------------


@ON_SQLITE
@pytest.mark.contract("issue-3.5/restore")
def test_node_with_records_is_left_alone(
    snapshot: Path, restore: Restore, target: Path, backups: Path
) -> None:
    with MeteorDatabase(target, target.parent / "restored-files") as node:
        node.record_audit("ann", "was", "here")
        before = digests(node.transactions)

    with pytest.raises(ConflictError, match="audit_entry"):
        restore(target)

    with MeteorDatabase(target, target.parent / "restored-files") as node:
        assert digests(node.transactions) == before
        assert contents_of(node) == {}


@ON_SQLITE
def test_store_with_other_contents_is_left_alone(snapshot: Path, restore: Restore, target: Path) -> None:
    store = LocalFileStore(target.parent / "restored-files")
    store.prepare()
    with MeteorDatabase(target.parent / "other.db", store.root) as other:
        add_status(other)
        add_file(other, 1, content=b"of another node")
        before = contents_of(other)

        with pytest.raises(ConflictError, match="file store is not empty"):
            restore(target)

        assert contents_of(other) == before
    assert not target.exists()


@ON_SQLITE
def test_content_under_a_name_of_the_backup_is_compared(
    db: MeteorDatabase, snapshot: Path, restore: Restore, target: Path
) -> None:
    store = LocalFileStore(target.parent / "restored-files")
    store.prepare()
    same, other = list(db.store.ids())[:2]
    store.put(same, db.store.open(same))
    store.put(other, [b"other bytes"])

    with pytest.raises(ConflictError, match="other bytes"):
        restore(target)

    store.delete(other)
    assert restore(target).is_complete


@ON_SQLITE
def test_other_key_is_left_alone(snapshot: Path, restore: Restore, target: Path) -> None:
    key = target.with_name(f"{target.name}.key")
    key.write_bytes(b"of another node")

    with pytest.raises(ConflictError, match="another key"):
        restore(target)

    assert key.read_bytes() == b"of another node"
    assert not target.exists()


@pytest.mark.engines("sqlite", "firebird", "postgresql")
def test_database_with_tables_and_no_rows_is_taken(
    snapshot: Path, restore: Restore, new_database: Callable[[], str]
) -> None:
    assert restore(new_database()).is_complete


@ON_SQLITE
def test_there_is_nothing_to_restore(restore: Restore, target: Path) -> None:
    with pytest.raises(NotFoundError, match="no backups"):
        restore(target)
    assert untouched(target)


# --- afterwards --------------------------------------------------------------------------------------


@ON_SQLITE
@pytest.mark.contract("issue-3.5/restore")
def test_restored_copy_exports_only_when_asked(
    snapshot: Path, restore: Restore, target: Path, tmp_path: Path
) -> None:
    report = restore(target)

    assert report.exports_disabled == 1
    with MeteorDatabase(target, tmp_path / "restored-files") as node:
        assert not any(config.enabled for config in node.get_export_configurations())
        assert node.get_next_entity_to_export() is None


@ON_SQLITE
def test_exports_stay_as_they_were_when_asked(
    snapshot: Path, restore: Restore, target: Path, tmp_path: Path
) -> None:
    report = restore(target, options=RestoreOptions(keep_exports=True))

    assert report.exports_disabled == 0
    with MeteorDatabase(target, tmp_path / "restored-files") as node:
        assert sorted(config.enabled for config in node.get_export_configurations()) == [False, True]
        assert node.get_next_entity_to_export() is not None


@ON_SQLITE
def test_token_is_good_at_the_restored_node(
    db: MeteorDatabase, backups: Path, restore: Restore, target: Path, tmp_path: Path
) -> None:
    db.create_or_update_user("ann", "one", ["user"])
    secret = db.create_api_token("ann", "a program")[1]
    db.backup_to(backups)

    restore(target)

    with MeteorDatabase(target, tmp_path / "restored-files") as node:
        assert node.get_user_by_token(secret).user_id == "ann"
        assert node.get_user("ann", "one").user_id == "ann"


@ON_SQLITE
def test_list_says_what_each_backup_is(db: MeteorDatabase, snapshot: Path) -> None:
    found = summary(snapshot)

    assert (found["files"], found["events"], found["lacking"], found["engine"]) == (8, 2, 0, "sqlite")
    flip_a_bit(snapshot / "manifest.json")
    assert "manifest.json" in str(summary(snapshot)["trouble"])


@ON_SQLITE
def test_progress_of_every_step_is_told(snapshot: Path, backups: Path, target: Path, tmp_path: Path) -> None:
    told: dict[str, tuple[int, int]] = {}

    MeteorDatabase.restore_from(
        backups,
        db_path=target,
        file_store_path=tmp_path / "restored-files",
        progress=lambda what, done, total: told.update({what: (done, total)}),
    )

    assert list(told) == ["check", "contents", "rows", "verify"]
    assert all(done == total > 0 for done, total in told.values())


# --- copying between databases -----------------------------------------------------------------------


@ON_SQLITE
@pytest.mark.contract("issue-3.5/copy-db")
def test_copy_needs_an_empty_target_and_a_resting_exporter(
    db: MeteorDatabase, open_database: OpenDatabase, tmp_path: Path
) -> None:
    fill(db)
    other = open_database(str(tmp_path / "other.db"))
    other.record_audit("was", "here", "before")
    before = digests(other.transactions)
    with pytest.raises(ConflictError, match="audit_entry"):
        db.copy_database_to(tmp_path / "other.db", online=True)
    assert digests(other.transactions) == before

    db.release_lease("some work", "somebody")
    db.acquire_lease("exporter", "hill:123:abc", 60)
    with pytest.raises(ConflictError, match="hill"):
        db.copy_database_to(tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
    assert db.copy_database_to(tmp_path / "copy.db", online=True).rows > 40

    db.release_lease("exporter", "hill:123:abc")
    assert db.copy_database_to(tmp_path / "another.db").rows > 40


@ON_SQLITE
def test_copy_leaves_a_key_where_a_setting_has_it(open_database: OpenDatabase, tmp_path: Path) -> None:
    db = open_database(secret_key_file=tmp_path / "elsewhere" / "the.key")
    add_export(db)

    db.copy_database_to(tmp_path / "copy.db")

    assert not (tmp_path / "copy.db.key").exists()
    copy = open_database(str(tmp_path / "copy.db"), secret_key_file=tmp_path / "elsewhere" / "the.key")
    assert copy.get_export_configurations()[0].password == "secret ☄"


@ON_SQLITE
def test_copy_does_not_replace_another_key(db: MeteorDatabase, tmp_path: Path) -> None:
    add_export(db)
    (tmp_path / "copy.db.key").write_bytes(b"of another node")

    with pytest.raises(ConflictError, match="another key"):
        db.copy_database_to(tmp_path / "copy.db")

    assert not (tmp_path / "copy.db").exists()
