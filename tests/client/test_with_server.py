"""The client and a real node: what one says, the other understands."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from meteorpi_client import MeteorClient
from meteorpi_db import MeteorDatabase, NewFile
from meteorpi_model import (
    CameraStatus,
    Event,
    EventSearch,
    FileRecord,
    FileRecordSearch,
    Location,
    Meta,
    MetaConstraint,
    NSString,
    Orientation,
)
from meteorpi_model.errors import (
    ConflictError,
    CorruptContentError,
    InvalidDocumentError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
)
from meteorpi_server import MeteorServer

CAMERA = "aabbccddeeff"
ODD_CAMERA = "süd/1 + 2"
START = datetime(2015, 4, 1)
PASSWORD = "pä:ss wörd"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MeteorServer]:
    """A node with a camera, and accounts with one role each."""
    made = MeteorServer(str(tmp_path / "node.db"), str(tmp_path / "files"), 0)
    for camera_id in (CAMERA, ODD_CAMERA):
        status = CameraStatus("lens", "chip", None, "Farm", Orientation(1, 2), Location(3, 4), camera_id)
        made.db.update_camera_status(status, START, camera_id)
    made.db.create_or_update_user("admin", PASSWORD, ["user", "camera_admin"])
    made.db.create_or_update_user("visitor", PASSWORD, ["user"])
    stop = made.start_non_blocking()
    yield made
    stop()
    made.db.close()


@pytest.fixture
def client(server: MeteorServer) -> Iterator[MeteorClient]:
    with MeteorClient(server.base_url()) as client:
        yield client


@pytest.fixture
def admin(server: MeteorServer) -> Iterator[MeteorClient]:
    with MeteorClient(server.base_url(), auth=("admin", PASSWORD)) as client:
        yield client


def add_file(db: MeteorDatabase, minute: int, content: bytes = b"content", **members: str) -> FileRecord:
    new = NewFile(
        mime_type="text/plain",
        semantic_type=NSString("test_file"),
        file_time=START + timedelta(minutes=minute),
        camera_id=members.get("camera_id", CAMERA),
        file_name=members.get("file_name"),
        metas=[Meta(NSString("text"), members.get("text", "a + b/c%20d ü"))],
    )
    return db.add_file(new, [content])


@pytest.mark.contract("10/list_cameras", "10/get_camera_status")
def test_cameras_and_statuses_come_as_they_are_held(server: MeteorServer, client: MeteorClient) -> None:
    assert client.list_cameras() == server.db.get_cameras()
    for camera_id in (CAMERA, ODD_CAMERA):
        assert client.get_camera_status(camera_id) == server.db.get_camera_status(camera_id=camera_id)
    assert client.get_camera_status(CAMERA, START) is not None
    assert client.get_camera_status(CAMERA, START - timedelta(seconds=1)) is None
    assert client.get_camera_status("nobody") is None


@pytest.mark.contract("10/search_events", "10/search_files", "B-33")
def test_searches_give_what_the_database_gives(server: MeteorServer, client: MeteorClient) -> None:
    records = [add_file(server.db, minute) for minute in range(5)]
    add_file(server.db, 9, camera_id=ODD_CAMERA, text="another")
    server.db.register_event(CAMERA, START, NSString("seen"), records[:2], [Meta(NSString("n"), 2)])
    exact = MetaConstraint("string_equals", NSString("text"), "a + b/c%20d ü")

    for search in (
        None,
        FileRecordSearch(limit=2, skip=1),
        FileRecordSearch(exclude_events=True),
        FileRecordSearch(meta_constraints=[exact]),
        FileRecordSearch(camera_ids=[ODD_CAMERA]),
    ):
        assert client.search_files(search) == server.db.search_files(search or FileRecordSearch())
    assert client.search_events() == server.db.search_events(EventSearch())


@pytest.mark.contract("issue-2.6/pages")
def test_iteration_gives_everything(server: MeteorServer, client: MeteorClient) -> None:
    for minute in range(7):
        add_file(server.db, minute // 3)
        server.db.register_event(CAMERA, START + timedelta(minutes=minute // 3), NSString("seen"))

    assert list(client.iterate_files(page_size=2)) == list(server.db.iterate_files())
    assert list(client.iterate_events(page_size=2)) == list(server.db.iterate_events())


@pytest.mark.contract("10/content", "B-37", "faults/names")
@pytest.mark.parametrize("file_name", [None, "a night.txt", "ä/b+c%20?.txt", "..", "x" * 200])
def test_content_is_downloaded_whatever_its_name(
    server: MeteorServer, client: MeteorClient, tmp_path: Path, file_name: str | None
) -> None:
    content = bytes(range(256)) * 4096
    add_file(server.db, 1, content, **({"file_name": file_name} if file_name else {}))

    (record,) = client.search_files()["files"]

    assert record.download_to(tmp_path / "got").read_bytes() == content
    url = record.get_url()
    assert url is not None
    assert url.startswith(server.base_url().rstrip("/") + "/files/content/")


@pytest.mark.contract("issue-2.6/downloads")
def test_download_goes_on_from_what_an_earlier_run_left(
    server: MeteorServer, client: MeteorClient, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 4096
    record = add_file(server.db, 1, content)
    assert record.file_id is not None
    (tmp_path / f".got.{record.file_id.hex}.part").write_bytes(content[:500_000])
    told: list[int] = []

    client.download(record, tmp_path / "got", lambda here, size: told.append(here))

    assert (tmp_path / "got").read_bytes() == content
    assert told[0] > 500_000


@pytest.mark.contract("S-140")
def test_damaged_content_is_not_accepted(server: MeteorServer, client: MeteorClient, tmp_path: Path) -> None:
    record = add_file(server.db, 1, b"whole")
    path = server.db.get_file(record.file_id or UUID(int=0))
    assert path is not None
    stored = path.get_path()
    assert stored is not None
    stored.chmod(0o600)
    stored.write_bytes(b"half")

    with pytest.raises(CorruptContentError):
        client.download(record, tmp_path / "got")

    assert not (tmp_path / "got").exists()


@pytest.mark.contract("B-37")
def test_search_that_cannot_be_run_is_the_callers_fault(client: MeteorClient) -> None:
    search = EventSearch()
    search.meta_constraints = [MetaConstraint("less", NSString("n"), 1)]
    search.meta_constraints[0].as_dict = lambda: {"type": "odd", "key": "n", "value": 1}  # type: ignore[method-assign]

    with pytest.raises(InvalidDocumentError):
        client.search_events(search)


@pytest.mark.contract("issue-2.6/administration")
def test_accounts_are_administrated(server: MeteorServer, admin: MeteorClient) -> None:
    odd = "a/b c+d"

    assert admin.admin.login().user_id == "admin"
    assert odd in {user.user_id for user in admin.admin.create_or_update_user(odd, "s3same word")}
    users = admin.admin.set_roles({odd: ["user", "import"]})
    assert next(user.get_roles() for user in users if user.user_id == odd) == ["user", "import"]
    assert admin.admin.get_users() == server.db.get_users()
    assert admin.admin.get_user_cameras(odd) is None
    assert admin.admin.set_user_cameras(odd, [CAMERA]) == [CAMERA]
    admin.admin.set_enabled(odd, False)
    with pytest.raises(NotAuthenticatedError):
        MeteorClient(server.base_url(), auth=(odd, "s3same word")).admin.login()
    assert odd not in {user.user_id for user in admin.admin.delete_user(odd)}
    with pytest.raises(NotFoundError):
        admin.admin.set_roles({"nobody": ["user"]})
    with pytest.raises(ConflictError):
        admin.admin.delete_user("admin")


@pytest.mark.contract("issue-2.6/administration")
def test_exports_are_administrated(server: MeteorServer, admin: MeteorClient) -> None:
    made = admin.admin.create_export("event", "http://hub/import", "station", "s3same", "to hub", "text")
    assert made.config_id is not None
    made.enabled = True
    made.search = EventSearch(camera_ids=[ODD_CAMERA], limit=0)

    admin.admin.update_export(made)

    assert admin.admin.get_exports() == [made]
    assert admin.admin.get_export(made.config_id) == made
    stored = server.db.get_export_configuration(made.config_id)
    assert stored is not None
    assert (stored.password, stored.enabled, made.password) == ("s3same", True, None)
    server.db.record_export_failure(made.config_id, "no route", 1)
    (state,) = admin.admin.get_export_states()
    assert (state.suspended, state.last_error) == (True, "no route")
    assert not admin.admin.resume_export(made.config_id).suspended
    admin.admin.delete_export(made.config_id)
    assert admin.admin.get_export(made.config_id) is None
    with pytest.raises(NotFoundError):
        admin.admin.resume_export(uuid4())


@pytest.mark.contract("issue-2.6/administration")
def test_tokens_stand_for_an_account(server: MeteorServer, admin: MeteorClient) -> None:
    expires = datetime(2100, 1, 1)

    token_id, secret = admin.admin.create_token("admin", "a script", ["camera_admin"], expires)

    (token,) = admin.admin.get_tokens()
    assert (token.token_id, token.roles, token.expires_at) == (token_id, ["camera_admin"], expires)
    holder = MeteorClient(server.base_url(), token=secret)
    assert holder.admin.get_users() == admin.admin.get_users()
    assert admin.admin.revoke_token(token_id) == []
    with pytest.raises(NotAuthenticatedError):
        holder.admin.get_users()


@pytest.mark.contract("issue-2.6/administration")
def test_camera_is_renamed(server: MeteorServer, admin: MeteorClient) -> None:
    region = [{"x": 0, "y": 0}, {"x": 9, "y": 0}, {"x": 9, "y": 9.5}]

    status = admin.admin.update_camera_status(ODD_CAMERA, "Hill", "http://hill", [region])  # type: ignore[list-item]

    assert (status.inst_name, status.inst_url, status.regions) == ("Hill", "http://hill", [region])
    assert admin.get_camera_status(ODD_CAMERA) == server.db.get_camera_status(camera_id=ODD_CAMERA) == status


@pytest.mark.contract("B-59")
def test_audit_log_is_read_page_by_page(admin: MeteorClient) -> None:
    for number in range(5):
        admin.admin.create_or_update_user(f"user{number}", "s3same word")

    entries = list(admin.admin.iterate_audit_log(page_size=2))

    assert [entry.subject for entry in entries if entry.action == "user.create"] == [
        f"user{number}" for number in (4, 3, 2, 1, 0)
    ]
    assert {entry.actor for entry in entries} == {"admin"}


@pytest.mark.contract("B-32")
def test_administration_needs_the_role(server: MeteorServer, client: MeteorClient) -> None:
    visitor = MeteorClient(server.base_url(), auth=("visitor", PASSWORD))

    with pytest.raises(NotAuthenticatedError):
        client.admin.get_users()
    with pytest.raises(NotAllowedError):
        visitor.admin.get_users()
    assert visitor.admin.login().user_id == "visitor"


@pytest.mark.contract("issue-2.6/administration")
def test_node_tells_how_it_is(client: MeteorClient) -> None:
    assert client.node.health() == {"status": "ok"}
    assert client.node.readiness()["status"] == "ok"
    routes = client.node.capabilities()["routes"]
    assert isinstance(routes, list)
    assert {route["name"] for route in routes} == {"admin", "importer", "query", "node"}


@pytest.mark.contract("3.5/files")
def test_events_keep_their_files_in_order(server: MeteorServer, client: MeteorClient) -> None:
    records = [add_file(server.db, minute) for minute in (1, 2, 3)][::-1]
    event = server.db.register_event(CAMERA, START, NSString("seen"), records)

    (found,) = client.search_events()["events"]

    assert isinstance(found, Event)
    assert found == event
    assert [record.file_id for record in found.file_records] == [record.file_id for record in records]
