"""Export configurations, their state, and the passwords of peers."""

from __future__ import annotations

import stat
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import select

from meteorpi_db import MeteorDatabase, tables
from meteorpi_model import EventSearch, ExportConfiguration, FileRecordSearch, MetaConstraint, NSString
from meteorpi_model.errors import ConfigurationError, MeteorError, NotFoundError
from tests.conftest import OpenDatabase
from tests.db.making import StandingClock, add_export, add_file, add_status

REASON = "the peer said no ☄"


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def db(open_database: OpenDatabase, clock: StandingClock) -> MeteorDatabase:
    return open_database(clock=clock)


@pytest.mark.contract("4.6/create_or_update", "4.6/get_export_configuration", "4.6/get_export_configurations")
def test_configuration_is_stored_and_replaced_whole(db: MeteorDatabase) -> None:
    search = FileRecordSearch(
        camera_ids=["ä"], limit=None, meta_constraints=[MetaConstraint("less", NSString("n"), 0.1)]
    )
    first = ExportConfiguration("http://one/import", "u☄", "p☄", search, "name", "description")

    assert db.create_or_update_export_configuration(first) is first
    assert first.config_id is not None
    second = add_export(db, "event")
    assert db.get_export_configuration(first.config_id) == first
    assert db.get_export_configurations() == [second, first]

    changed = ExportConfiguration(
        "https://two:1/x", "v", "q", EventSearch(limit=0), "other", "", True, first.config_id
    )
    db.create_or_update_export_configuration(changed)
    assert db.get_export_configuration(first.config_id) == changed
    assert db.get_export_configurations() == [second, changed]


@pytest.mark.contract("B-62", "4.6/create_or_update")
def test_no_limit_stays_no_limit(db: MeteorDatabase) -> None:
    config = add_export(db, search=FileRecordSearch(limit=None))

    assert db.get_export_configuration(config.config_id).search.limit == 0  # type: ignore[arg-type, union-attr]


@pytest.mark.contract("B-18", "4.6/create_or_update")
def test_unknown_configuration_is_not_replaced(db: MeteorDatabase) -> None:
    with pytest.raises(NotFoundError):
        add_export(db, config_id=uuid4())

    assert db.get_export_configurations() == []


@pytest.mark.contract("B-44", "4.6/create_or_update")
def test_password_is_kept_unless_a_new_one_is_given(db: MeteorDatabase) -> None:
    config = add_export(db)
    config.password = None
    config.name = "renamed"

    db.create_or_update_export_configuration(config)

    found = db.get_export_configuration(config.config_id)  # type: ignore[arg-type]
    assert found is not None
    assert (found.name, found.password) == ("renamed", "secret ☄")
    with pytest.raises(ValueError, match="password"):
        add_export(db, password=None)


@pytest.mark.contract("B-44")
def test_passwords_are_encrypted_with_a_key_that_only_its_owner_can_read(db: MeteorDatabase) -> None:
    add_export(db)

    with db.transactions.reading() as connection:
        row = connection.execute(select(tables.export_config)).one()
    key_file = db.secret_box.key_file

    assert "secret" not in str(tuple(row))
    assert key_file is not None
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert [path.name for path in key_file.parent.glob(f".{key_file.name}*")] == []


@pytest.mark.contract("B-44", "4/coexistence")
def test_other_processes_use_the_same_key(open_database: OpenDatabase) -> None:
    here, there = open_database(), open_database()

    first, second = add_export(here), add_export(there)

    assert here.get_export_configurations() == there.get_export_configurations() == [second, first]


@pytest.mark.contract("B-44")
def test_key_lies_where_the_setting_says(open_database: OpenDatabase, tmp_path: Path) -> None:
    db = open_database(secret_key_file=tmp_path / "keys" / "own.key")

    add_export(db)

    assert (tmp_path / "keys" / "own.key").exists()


@pytest.mark.contract("B-44")
@pytest.mark.parametrize("damage", ["removed", "replaced", "destroyed"])
def test_without_its_key_a_configuration_is_listed_and_its_password_can_be_entered_again(
    open_database: OpenDatabase, tmp_path: Path, damage: str
) -> None:
    key_file = tmp_path / "own.key"
    db = open_database(secret_key_file=key_file)
    add_status(db)
    add_file(db)
    db.mark_entities_to_export(add_export(db))
    key_file.unlink()
    if damage == "destroyed":
        key_file.write_text("no key")
    db = open_database(secret_key_file=key_file)
    if damage == "replaced":
        db.secret_box.seal("anything")

    (config,) = db.get_export_configurations()
    assert config.password is None
    task = db.get_next_entity_to_export()
    assert task is not None
    with pytest.raises(ConfigurationError, match=r"own\.key"):
        _ = task.target_password

    if damage == "destroyed":
        with pytest.raises(ConfigurationError, match=r"own\.key"):
            add_export(db)
        return
    config.password = "again"
    db.create_or_update_export_configuration(config)
    assert task.db.get_export_configurations()[0].password == "again"


@pytest.mark.engines("firebird", "postgresql")
@pytest.mark.contract("B-44")
def test_server_database_with_contents_elsewhere_needs_a_key_file(open_database: OpenDatabase) -> None:
    db = open_database(file_store_path="memory:")

    with pytest.raises(ConfigurationError, match="secret_key_file"):
        add_export(db)


@pytest.mark.contract("4.6/delete")
def test_deleting_takes_the_tasks_along(db: MeteorDatabase) -> None:
    add_status(db)
    add_file(db)
    config = add_export(db)
    assert config.config_id is not None
    db.mark_entities_to_export(config)

    db.delete_export_configuration(config.config_id)
    db.delete_export_configuration(config.config_id)

    assert db.get_export_configuration(config.config_id) is None
    assert db.get_next_entity_to_export() is None
    assert db.count_entities()["export_tasks_pending"] == 0


@pytest.mark.contract("B-41", "B-51", "B-11", "faults/input")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("target_url", "ftp://host/import"),
        ("target_url", "file:///etc/passwd"),
        ("target_url", "/import"),
        ("target_url", "http://"),
        ("target_url", "http://[::1/import"),
        ("target_url", "http://host/" + "x" * 2048),
        ("user_id", "x" * 256),
        ("password", "a\x00b"),
        ("name", "x" * 256),
        ("description", "x" * 65_537),
        ("search", FileRecordSearch(meta_constraints=[MetaConstraint("like", NSString("a"), "b")])),
        ("search", "no search"),
    ],
)
def test_members_that_cannot_be_kept_are_refused(db: MeteorDatabase, name: str, value: object) -> None:
    config = add_export(db)
    setattr(config, name, value)

    with pytest.raises(ValueError, match=r"."):
        db.create_or_update_export_configuration(config)
    config.config_id = None
    with pytest.raises(ValueError, match=r"."):
        db.create_or_update_export_configuration(config)

    assert [found.target_url for found in db.get_export_configurations()] == ["https://hub.example/import"]


@pytest.mark.contract("B-41")
def test_a_long_search_is_kept(db: MeteorDatabase) -> None:
    search = FileRecordSearch(camera_ids=[f"camera {number}" for number in range(1000)], limit=0)

    config = add_export(db, search=search, description="x" * 65_536)

    assert db.get_export_configuration(config.config_id) == config  # type: ignore[arg-type]


@pytest.mark.contract("B-24")
def test_failures_are_counted_with_their_reason_until_a_success(
    db: MeteorDatabase, clock: StandingClock
) -> None:
    config_id = add_export(db).config_id
    assert config_id is not None

    db.record_export_failure(config_id, "first", 4)
    clock.move(minutes=1)
    state = db.record_export_failure(config_id, REASON, 4)
    assert (state.failures, state.last_error, state.last_failure_at, state.suspended) == (
        2, REASON, clock(), False,
    )  # fmt: skip
    assert db.get_export_states() == [state]

    clock.move(minutes=1)
    db.record_export_success(config_id)
    (state,) = db.get_export_states()
    assert (state.failures, state.last_error, state.last_success_at) == (0, None, clock())


@pytest.mark.contract("B-24", "issue-2.5")
def test_too_many_failures_suspend_until_a_probe_succeeds(db: MeteorDatabase, clock: StandingClock) -> None:
    config = add_export(db)
    config_id = config.config_id
    assert config_id is not None

    states = [db.record_export_failure(config_id, REASON, 3) for _ in range(3)]
    assert [state.suspended for state in states] == [False, False, True]
    assert (states[-1].failures, states[-1].enabled) == (0, False)
    assert db.mark_entities_to_export(config_of(db, config)) == 0
    assert [state.config_id for state in db.get_due_probes()] == [config_id]

    probe_at = clock.time.replace(hour=1)
    db.suspend_export(config_id, probe_at)
    assert db.get_due_probes() == []
    clock.time = probe_at
    (due,) = db.get_due_probes()
    assert (due.probe_count, due.next_probe_at) == (1, probe_at)

    db.resume_export(config_id)
    (state,) = db.get_export_states()
    assert (state.enabled, state.suspended, state.probe_count) == (True, False, 0)
    assert config_of(db, config).enabled
    assert db.get_due_probes() == []


def config_of(db: MeteorDatabase, config: ExportConfiguration) -> ExportConfiguration:
    assert config.config_id is not None
    found = db.get_export_configuration(config.config_id)
    assert found is not None
    return found


@pytest.mark.contract("issue-2.5")
def test_what_a_person_disabled_stays_disabled(db: MeteorDatabase, clock: StandingClock) -> None:
    config = add_export(db)
    assert config.config_id is not None
    db.record_export_failure(config.config_id, REASON, 1)
    config.enabled = False
    db.create_or_update_export_configuration(config)

    db.suspend_export(config.config_id, clock())
    db.record_export_failure(config.config_id, REASON, 1)
    db.resume_export(config.config_id)

    (state,) = db.get_export_states()
    assert (state.enabled, state.suspended) == (False, False)
    assert db.get_due_probes() == []


@pytest.mark.contract("issue-2.5")
def test_resuming_makes_waiting_tasks_due(db: MeteorDatabase) -> None:
    add_status(db)
    add_file(db)
    config = add_export(db)
    assert config.config_id is not None
    db.mark_entities_to_export(config)
    db.defer_export_tasks(config.config_id, 3600)
    assert db.get_next_entity_to_export() is None

    db.resume_export(config.config_id)

    assert db.get_next_entity_to_export() is not None


def test_a_configuration_that_is_gone_disturbs_nobody(db: MeteorDatabase, clock: StandingClock) -> None:
    gone = uuid4()

    assert not db.record_export_failure(gone, REASON, 1).suspended
    db.record_export_success(gone)
    db.suspend_export(gone, clock())
    db.resume_export(gone)
    assert db.get_export_states() == []


@pytest.mark.contract("B-45")
def test_each_peer_may_have_its_own_authority(db: MeteorDatabase) -> None:
    add_status(db)
    add_file(db)
    config = add_export(db)
    assert config.config_id is not None
    db.mark_entities_to_export(config)

    db.set_export_ca_file(config.config_id, "/etc/ssl/own ☄.pem")

    assert db.get_export_states()[0].ca_file == "/etc/ssl/own ☄.pem"
    assert db.get_next_entity_to_export().target_ca_file == "/etc/ssl/own ☄.pem"  # type: ignore[union-attr]
    db.create_or_update_export_configuration(config)
    assert db.get_export_states()[0].ca_file is not None
    db.set_export_ca_file(config.config_id, None)
    assert db.get_export_states()[0].ca_file is None


def test_errors_of_the_key_are_ours(tmp_path: Path, open_database: OpenDatabase) -> None:
    db = open_database(secret_key_file=tmp_path)

    with pytest.raises(MeteorError, match="key"):
        add_export(db)
