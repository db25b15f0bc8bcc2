"""Taking the place of a Qabel block server: its accounts, prefixes, traffic and objects."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks import prefixes, rows, traffic
from meteorpi_db.blocks.ancestor import read_ancestor
from meteorpi_db.blocks.ancestor_objects import open_objects
from meteorpi_db.blocks.changes import Terms
from meteorpi_db.blocks.importing import AncestorImport, AncestorReport
from meteorpi_db.blocks.recounting import recount
from meteorpi_db.blocks.tables import block_object, block_prefix
from meteorpi_db.filestore.pacing import Pace
from meteorpi_db.testing.object_servers import ACCESS_KEY, SECRET_KEY, ObjectServer
from meteorpi_db.testing.servers import PostgresServer
from meteorpi_model.errors import InvalidDocumentError, NotFoundError, UnavailableError
from meteorpi_server.cli.entry import run
from tests.blocks.ancestors import (
    OBJECTS,
    WRITTEN,
    connected,
    make_ancestor,
    rows_in,
    write_object,
    write_objects,
)
from tests.blocks.making import StoredBlocks
from tests.db.making import stored_ids

pytestmark = pytest.mark.engines("sqlite", "postgresql")

TODAY = date(2016, 6, 9)
PREFIX = "a1b2c3d4-0000-4000-8000-000000000001"


@pytest.fixture
def ancestor(postgres_server: PostgresServer) -> Iterator[Callable[[int], str]]:
    """Call it with a revision for the URL of a database of a block server."""
    made: list[str] = []

    def make(revision: int) -> str:
        name = f"ancestor_{len(made)}"
        postgres_server.create_database(name)
        made.append(name)
        make_ancestor(postgres_server.url(name), revision)
        return postgres_server.url(name)

    yield make
    for name in made:
        postgres_server.drop_database(name)


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    """The objects of the block server."""
    root = tmp_path / "ancestor"
    write_objects(root)
    return root


def take(db: MeteorDatabase, url: str, location: str | Path | None = None) -> AncestorReport:
    found = None if location is None else open_objects(str(location))
    return AncestorImport(db.transactions, db.store, db.clock).run(read_ancestor(url, TODAY), found)


def content_of(db: MeteorDatabase, key: str) -> bytes:
    prefix, _, path = key.partition("/")
    with db.transactions.reading() as connection:
        row = rows.find_object(connection, prefix, path)
    assert row is not None
    with db.store.open(row.content_id) as chunks:
        return b"".join(chunks)


def used_by(db: MeteorDatabase, account_id: str) -> tuple[int, int, int | None]:
    """Bytes, objects and quota of an account."""
    with db.transactions.reading() as connection:
        account = rows.find_account(connection, account_id)
    assert account is not None
    return account.used, account.objects, account.quota


def traffic_of(db: MeteorDatabase, account_id: str) -> dict[int, int]:
    with db.transactions.reading() as connection:
        return traffic.months_of(connection, account_id)


@pytest.mark.contract(
    "K-401", "A.10/revisions", "A.10/users", "A.10/prefixes", "K-503/import-ancestor", "issue-5.4"
)
@pytest.mark.parametrize("revision", [1, 2, 3, 4])
def test_every_revision_is_taken_with_its_objects_and_left_as_it_was(
    db: MeteorDatabase, ancestor: Callable[[int], str], objects: Path, revision: int
) -> None:
    url = ancestor(revision)
    before = rows_in(url)

    report = take(db, url, objects)

    assert (report.is_complete, report.prefixes, report.objects, report.present) == (True, 3, 5, 0)
    assert {key: content_of(db, key) for key in OBJECTS} == OBJECTS
    assert used_by(db, "remote:5") == (54, 3, None)
    assert used_by(db, "remote:7") == (0, 0, 5000000000 if revision == 2 else None)
    assert used_by(db, "remote:8") == (0, 1, None)
    months = {201605: 1000, 201604: 2**32} if revision == 4 else {201606: 1000}
    assert traffic_of(db, "remote:5") == months
    assert (recount(db.transactions), db.verify(deep=True).is_clean) == ([], True)
    assert rows_in(url) == before
    assert {str(path.relative_to(objects)): path.read_bytes() for path in files_in(objects)} == OBJECTS


def files_in(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.contract("K-401", "A.10/users", "A.10/prefixes", "A.10/traffic")
def test_owners_and_times_come_along(
    db: MeteorDatabase, ancestor: Callable[[int], str], objects: Path
) -> None:
    take(db, ancestor(4), objects)

    with db.transactions.reading() as connection:
        owners = connection.execute(select(block_prefix.c.name, block_prefix.c.account_id)).all()
        times = set(connection.execute(select(block_object.c.modified_at, block_object.c.created_at)).all())
    assert sorted(map(tuple, owners)) == [
        (PREFIX, "remote:5"),
        (f"{PREFIX[:-1]}2", "remote:5"),
        (f"{PREFIX[:-1]}3", "remote:8"),
        ("nobodys", None),
    ]
    written = 1463745600000
    assert set(map(tuple, times)) == {(written, written)}


@pytest.mark.contract("K-401")
def test_repeated_it_takes_what_is_new_there_and_leaves_what_is_newer_here(
    db: MeteorDatabase, ancestor: Callable[[int], str], objects: Path
) -> None:
    url, newer = ancestor(4), WRITTEN + timedelta(days=1)
    take(db, url, objects)
    write_object(objects, f"{PREFIX}/index", b"changed there", newer)
    write_object(objects, f"{PREFIX}/blocks/1", OBJECTS[f"{PREFIX}/blocks/1"], newer)
    write_object(objects, f"{PREFIX[:-1]}3/blocks/2", b"older than here", WRITTEN - timedelta(days=1))
    write_object(objects, f"{PREFIX}/new", b"new")
    with connected(url) as connection:
        connection.execute("UPDATE traffic SET traffic = 1500 WHERE traffic = 1000")
    connection.close()

    report = take(db, url, objects)
    again = take(db, url, objects)

    assert (report.objects, report.present, report.prefixes, report.months) == (2, 4, 0, 1)
    assert (again.objects, again.present, again.accounts, again.months) == (0, 6, 0, 0)
    assert content_of(db, f"{PREFIX}/index") == b"changed there"
    assert content_of(db, f"{PREFIX[:-1]}3/blocks/2") == b""
    assert traffic_of(db, "remote:5")[201605] == 1500
    assert recount(db.transactions) == []


@pytest.mark.contract("K-401", "K-102")
def test_what_cannot_be_taken_is_named_and_the_rest_is_taken(
    db: MeteorDatabase, ancestor: Callable[[int], str], objects: Path
) -> None:
    for key in ("nobodys/ünïcode", "loose", "nobodys/tmpab12_x9z"):
        write_object(objects, key, b"?")
    url = ancestor(4)
    with connected(url) as connection:
        connection.execute("INSERT INTO prefixes VALUES ('not one', 5), ('nobodys', 6)")
    connection.close()
    db.transactions.write(lambda c: c.execute(block_prefix.insert().values(_ownerless("nobodys"))))

    report = take(db, url, objects)

    assert sorted(name for name, _ in report.troubles) == [
        "loose",
        "nobodys",
        "nobodys/tmpab12_x9z",
        "nobodys/ünïcode",
        "not one",
    ]
    assert (report.is_complete, report.objects) == (False, len(OBJECTS))


def _ownerless(name: str) -> dict[str, object]:
    return {"name": name, "account_id": None, "created_at": 0}


@pytest.mark.contract("K-401")
@pytest.mark.engines("sqlite")
def test_objects_are_taken_out_of_a_bucket(
    db: MeteorDatabase, ancestor: Callable[[int], str], moto_server: ObjectServer
) -> None:
    bucket = moto_server.make_bucket()
    client = moto_server.client()
    for key, content in OBJECTS.items():
        client.put_object(Bucket=bucket, Key=key, Body=content)
    url = f"s3://{ACCESS_KEY}:{SECRET_KEY}@{bucket}?endpoint={moto_server.endpoint}"

    report = take(db, ancestor(3), url)
    again = take(db, ancestor(3), url)

    assert (report.is_complete, report.objects, again.present) == (True, 5, 5)
    assert {key: content_of(db, key) for key in OBJECTS} == OBJECTS
    kept = {each["Key"] for each in client.list_objects_v2(Bucket=bucket)["Contents"]}
    assert kept == set(OBJECTS)
    client.close()


@pytest.mark.contract("K-503")
@pytest.mark.engines("sqlite")
def test_import_stops_when_asked_to_and_goes_on_when_repeated(
    db: MeteorDatabase, ancestor: Callable[[int], str], objects: Path
) -> None:
    url, stop = ancestor(4), threading.Event()
    job = AncestorImport(
        db.transactions, db.store, db.clock, lambda size_bytes: stop.set(), Pace(1 << 30, stop)
    )

    stopped = job.run(read_ancestor(url, TODAY), open_objects(str(objects)))
    report = take(db, url, objects)

    assert (stopped.objects, stopped.is_interrupted, stopped.is_complete) == (1, True, False)
    assert stopped.as_dict()["interrupted"] is True
    assert (report.objects, report.present, report.is_complete) == (len(OBJECTS) - 1, 1, True)
    assert len(stored_ids(db)) == len(OBJECTS)


@pytest.mark.engines("sqlite")
def test_import_reads_no_faster_than_it_may(
    db: MeteorDatabase, ancestor: Callable[[int], str], objects: Path
) -> None:
    clock, paid = [0.0], []

    class Waiting(threading.Event):
        """Lets the clock go on in place of waiting."""

        def wait(self, timeout: float | None = None) -> bool:
            paid.append(timeout or 0.0)
            clock[0] += timeout or 0.0
            return False

    job = AncestorImport(
        db.transactions, db.store, db.clock, pace=Pace(10, Waiting(), clock=lambda: clock[0])
    )
    report = job.run(read_ancestor(ancestor(4), TODAY), open_objects(str(objects)))

    assert report.is_complete
    assert sum(paid) == pytest.approx(sum(map(len, OBJECTS.values())) / 10)


@pytest.mark.contract("K-405")
@pytest.mark.engines("sqlite")
def test_object_that_changes_under_the_copy_is_left_for_the_next_time(
    db: MeteorDatabase, ancestor: Callable[[int], str], objects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = db.store.put
    index, gone = objects / PREFIX / "index", objects / "nobodys/x"

    def meddle_first(content_id: UUID, *args: object, **options: object) -> object:
        index.write_bytes(b"longer than it was when it was listed, and by far")
        gone.unlink(missing_ok=True)
        return put(content_id, *args, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as others:
        others.setattr(db.store, "put", meddle_first)
        found = list(open_objects(str(objects)).listing())
        source = open_objects(str(objects))
        others.setattr(source, "listing", lambda: iter(found))
        job = AncestorImport(db.transactions, db.store, db.clock)
        report = job.run(read_ancestor(ancestor(4), TODAY), source)

    assert sorted(name for name, _ in report.troubles) == [f"{PREFIX}/index", "nobodys/x"]
    assert len(stored_ids(db)) == report.objects == 3


@pytest.mark.engines("sqlite")
def test_object_that_changes_here_under_the_copy_stays_and_is_named(
    db: MeteorDatabase, ancestor: Callable[[int], str], objects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, key, put = ancestor(4), f"{PREFIX}/index", db.store.put
    take(db, url, objects)
    write_object(objects, key, b"changed there", WRITTEN + timedelta(days=1))
    write_object(objects, f"{PREFIX}/new", b"new there")
    here, paths = StoredBlocks(db), iter(("index", "new"))
    here.terms = Terms(account_id="remote:5")

    def be_faster(content_id: UUID, *args: object, **options: object) -> object:
        monkeypatch.setattr(db.store, "put", put)
        here.store(next(paths), b"changed here", PREFIX)
        monkeypatch.setattr(db.store, "put", be_faster)
        return put(content_id, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(db.store, "put", be_faster)
    report = take(db, url, objects)

    assert sorted(name for name, _ in report.troubles) == [key, f"{PREFIX}/new"]
    assert content_of(db, key) == content_of(db, f"{PREFIX}/new") == b"changed here"


@pytest.mark.engines("sqlite")
def test_what_has_to_stay_here_does_not_end_the_import(
    db: MeteorDatabase, ancestor: Callable[[int], str], objects: Path
) -> None:
    url, key = ancestor(4), f"{PREFIX}/index"
    take(db, url, objects)
    db.transactions.write(lambda c: prefixes.change_prefix(c, PREFIX, is_append_only=True))
    write_object(objects, key, b"changed there", WRITTEN + timedelta(days=1))
    write_object(objects, "nobodys/z", b"new there")

    report = take(db, url, objects)

    assert [name for name, _ in report.troubles] == [key]
    assert (report.objects, content_of(db, key)) == (1, OBJECTS[key])


@pytest.mark.contract("K-501")
@pytest.mark.engines("sqlite")
def test_what_is_no_block_server_is_refused_without_its_password(
    postgres_server: PostgresServer, ancestor: Callable[[int], str], tmp_path: Path
) -> None:
    postgres_server.create_database("no_ancestor")
    with pytest.raises(NotFoundError):
        read_ancestor(postgres_server.url("no_ancestor"), TODAY)
    postgres_server.drop_database("no_ancestor")
    for url in ("sqlite:///x.db", "nonsense"):
        with pytest.raises(InvalidDocumentError):
            read_ancestor(url, TODAY)
    with pytest.raises(UnavailableError) as caught:
        read_ancestor("postgresql://user:secret@127.0.0.1:1/nothing", TODAY)
    assert "secret" not in str(caught.value)
    with pytest.raises(InvalidDocumentError):
        open_objects(str(tmp_path / "nowhere"))
    with pytest.raises(InvalidDocumentError):
        open_objects("memory:")


@pytest.mark.contract("K-503/import-ancestor")
@pytest.mark.engines("sqlite")
def test_command_says_what_it_took(
    ancestor: Callable[[int], str],
    objects: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("METEORPI_CONFIG", "")
    url, node = ancestor(4), ["--db-path", str(tmp_path / "new.db"), "--file-store", str(tmp_path / "new")]
    write_object(objects, "nobodys/tmpab12_x9z", b"?")

    first = run([*node, "block", "import-ancestor", url, str(objects), "--json"])
    told = json.loads(capsys.readouterr().out)
    (objects / "nobodys/tmpab12_x9z").unlink()
    second = run([*node, "block", "import-ancestor", url, str(objects)])
    shown = capsys.readouterr()

    assert (first, told["objects"], told["accounts"], told["complete"]) == (1, 5, 4, False)
    assert told["troubles"][0]["name"] == "nobodys/tmpab12_x9z"
    assert (second, shown.err) == (0, "")
    assert "present       5\n" in shown.out
