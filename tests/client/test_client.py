"""The query half of the client, its addresses, and what becomes of answers that are errors."""

from __future__ import annotations

import json
import socket
import ssl
from contextlib import contextmanager
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import unquote
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.wrappers import Response

from meteorpi_client import MeteorClient
from meteorpi_client.addresses import document_segment
from meteorpi_client.transport import Patience
from meteorpi_model import (
    CameraStatus,
    Event,
    EventSearch,
    FileRecordSearch,
    Location,
    Meta,
    MetaConstraint,
    NSString,
    Orientation,
    now,
)
from meteorpi_model.errors import (
    ConfigurationError,
    ConflictError,
    IncompleteBodyError,
    InvalidDocumentError,
    MeteorError,
    NotAllowedError,
    NotAuthenticatedError,
    PeerRefusedError,
    PeerUnavailableError,
    TooManyAttemptsError,
    UnavailableError,
    UnknownStatusError,
)
from tests.client.conftest import STATUS_ID, file_record, files_answer
from tests.client.tiny_node import TinyNode, answer, problem, serve

TIME = datetime(2015, 4, 1, 0, 21, 3, 456000)
QUICK = Patience(connect_seconds=0.2, read_seconds=0.2, retries=1, sleep=lambda seconds: None)


def camera_status() -> CameraStatus:
    status = CameraStatus(
        "a_lens", "a_sensor", None, "Farm", Orientation(1, 2, 3, 4, 5), Location(6, 7), "cam", STATUS_ID
    )
    status.valid_from = TIME
    return status


@pytest.mark.contract("10/base_url", "10/list_cameras")
@pytest.mark.parametrize("slash", ["", "/", "//"])
def test_base_url_may_end_with_a_slash(node: TinyNode, slash: str) -> None:
    node.answer_with(answer({"cameras": ["b", "a"]}))

    assert MeteorClient(node.base_url + slash).list_cameras() == ["b", "a"]
    assert node.paths == ["/cameras"]


@pytest.mark.contract("10/get_camera_status")
def test_camera_status_now_and_at_a_time(client: MeteorClient, node: TinyNode) -> None:
    node.answer_with(answer({"status": camera_status().as_dict()}))

    assert client.get_camera_status("a b/ü") == camera_status()
    assert client.get_camera_status("cam", TIME) == camera_status()
    assert node.paths == ["/cameras/a%20b%2F%C3%BC/status", "/cameras/cam/status/1427847663456"]


@pytest.mark.contract("10/get_camera_status")
def test_camera_without_status_gives_none(client: MeteorClient, node: TinyNode) -> None:
    node.answer_with(problem(404, "not-found", "no status"), Response("<h1>Not Found</h1>", 404))

    assert client.get_camera_status("nobody") is None
    assert client.get_camera_status("nobody") is None


@pytest.mark.contract("10/search_files")
def test_search_files_gives_count_and_records(client: MeteorClient, node: TinyNode) -> None:
    record = file_record(1, TIME, file_size=21)
    node.answer_with(answer(files_answer([record], count=7)))

    found = client.search_files(FileRecordSearch(camera_ids="aabbccddeeff"))

    assert found == {"count": 7, "files": [record]}


@pytest.mark.contract("10/search_events", "10/content", "3.4/accessors")
def test_search_events_gives_events_whose_files_know_their_address(
    client: MeteorClient, node: TinyNode
) -> None:
    event = Event("cam", TIME, UUID(int=3), NSString("meteorpi"), STATUS_ID, [file_record(1, TIME)])
    node.answer_with(answer({"count": 1, "events": [event.as_dict()]}))

    found = client.search_events()

    assert found == {"count": 1, "events": [event]}
    assert found["events"][0].file_records[0].get_url() == f"{node.base_url}/files/content/{1:032x}"


@pytest.mark.contract("8.1/search-strings", "10/search_files")
def test_default_search_is_one_segment_encoded_twice() -> None:
    document: dict[str, object] = {"limit": 100, "skip": 0, "meta": []}

    assert document_segment(document) == (
        "%257B%2522limit%2522%253A100%252C%2522skip%2522%253A0%252C%2522meta%2522%253A%255B%255D%257D"
    )


@pytest.mark.contract("B-33")
def test_spaces_and_plus_signs_reach_the_node(client: MeteorClient, node: TinyNode) -> None:
    node.answer_with(answer({"count": 0, "files": []}))
    value = "one two+three/four%20five ü"
    search = FileRecordSearch(meta_constraints=[MetaConstraint("string_equals", NSString("key"), value)])

    client.search_files(search)

    segment = node.paths[0].removeprefix("/files/")
    assert "%2520" in segment
    assert "+" not in segment
    assert "/" not in segment
    assert FileRecordSearch.from_dict(json.loads(unquote(unquote(segment)))) == search


@pytest.mark.contract("B-33")
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_search_survives_its_address(text: str) -> None:
    search = EventSearch(camera_ids=[text])

    assert json.loads(unquote(unquote(document_segment(search.as_dict())))) == search.as_dict()


@pytest.mark.parametrize(
    "address",
    ["", "host", "ftp://host", "http://", "http://u:p@host", "http://host?x=1", "http://[", "http:///p"],
)
def test_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InvalidDocumentError):
        MeteorClient(address)


@pytest.mark.contract("B-37")
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (problem(400, "unknown-status", "no status"), UnknownStatusError),
        (problem(400, "incomplete-body", "cut"), IncompleteBodyError),
        (problem(401, "not-authenticated", "who?"), NotAuthenticatedError),
        (problem(403, "not-allowed", "no"), NotAllowedError),
        (problem(409, "conflict", "taken"), ConflictError),
        (problem(500, "internal", "broken"), PeerRefusedError),
        (problem(500, "configuration", "secret key missing"), ConfigurationError),
        (problem(503, "unavailable", "busy"), UnavailableError),
        (problem(418, "of-tomorrow", "tea"), PeerRefusedError),
        (Response("<html>Bad Gateway</html>", 502), PeerUnavailableError),
        (Response("nope", 403), NotAllowedError),
        (answer({"message": "old node"}, 403), NotAllowedError),
        (answer(["odd"], 400), InvalidDocumentError),
        (Response(b"\xff\xfe", 500), PeerRefusedError),
    ],
)
def test_problem_becomes_the_error_it_was(
    client: MeteorClient, node: TinyNode, reply: Response, expected: type[MeteorError]
) -> None:
    node.answer_with(reply)

    with pytest.raises(MeteorError) as caught:
        client.list_cameras()

    assert type(caught.value) is expected


def test_error_keeps_its_sentence_pointer_and_context(client: MeteorClient, node: TinyNode) -> None:
    errors = [{"pointer": "/after", "detail": "not a time"}]
    node.answer_with(problem(400, "invalid-document", "after is not a time", errors=errors, entity_id="ab"))

    with pytest.raises(InvalidDocumentError) as caught:
        client.search_files()

    assert caught.value.detail == "after is not a time"
    assert caught.value.pointer == "/after"
    assert caught.value.context["entity_id"] == "ab"


def test_throttled_login_says_how_long(client: MeteorClient, node: TinyNode) -> None:
    reply = problem(429, "too-many-attempts", "slowly")
    reply.headers["Retry-After"] = "17"
    node.answer_with(reply)

    with pytest.raises(TooManyAttemptsError) as caught:
        client.admin.login()

    assert caught.value.retry_after_seconds == 17


@pytest.mark.parametrize(
    "reply",
    [
        Response("{", content_type="application/json"),
        Response("<html>", content_type="text/html"),
        answer([]),
        answer({}),
        answer({"cameras": [1]}),
        Response(b"\xff", content_type="application/json"),
        Response("[" * 100_000, content_type="application/json"),
        Response("", 304),
    ],
)
def test_answer_that_is_not_understood_is_the_peers_fault(
    client: MeteorClient, node: TinyNode, reply: Response
) -> None:
    node.answer_with(reply)

    with pytest.raises(PeerRefusedError):
        client.list_cameras()


def test_busy_node_is_asked_again_and_its_wish_respected(
    client: MeteorClient, node: TinyNode, pauses: list[float]
) -> None:
    node.answer_with(answer({}, 503, Retry_After="3"), answer({}, 502), answer({"cameras": []}))

    assert client.list_cameras() == []
    assert pauses == [3, 1]


def test_node_that_stays_busy_is_given_up(client: MeteorClient, node: TinyNode, pauses: list[float]) -> None:
    node.answer_with(answer({}, 503, Retry_After="30"))

    with pytest.raises(UnavailableError):
        client.list_cameras()

    assert pauses == [30, 30, 30]


def test_node_that_wants_to_be_left_alone_for_long_is_not_waited_for(
    client: MeteorClient, node: TinyNode, pauses: list[float]
) -> None:
    node.answer_with(answer({}, 503, Retry_After="3600"))

    with pytest.raises(UnavailableError):
        client.list_cameras()

    assert pauses == []


def test_change_is_sent_once_only(client: MeteorClient, node: TinyNode) -> None:
    node.answer_with(answer({}, 503))

    with pytest.raises(UnavailableError):
        client.admin.create_or_update_user("a", "b")

    assert len(node.requests) == 1


@pytest.mark.contract("B-37")
def test_silent_node_is_not_waited_for_for_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = MeteorClient(f"http://127.0.0.1:{silent.getsockname()[1]}", patience=QUICK)

        with pytest.raises(PeerUnavailableError, match="in time"):
            client.list_cameras()


def test_absent_node_is_unavailable() -> None:
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))  # bound, but nobody listens
        client = MeteorClient(f"http://127.0.0.1:{placeholder.getsockname()[1]}", patience=QUICK)

        with pytest.raises(PeerUnavailableError):
            client.list_cameras()


def test_missing_file_of_authorities_is_named(node: TinyNode) -> None:
    address = node.base_url.replace("http:", "https:")
    client = MeteorClient(address, verify="/nonexistent/authorities.pem", patience=QUICK)

    with pytest.raises(ConfigurationError, match="authorities"):
        client.list_cameras()


def test_node_without_tls_is_not_spoken_to_as_if_it_had(node: TinyNode) -> None:
    client = MeteorClient(node.base_url.replace("http:", "https:"), patience=QUICK)

    with pytest.raises(PeerRefusedError, match="TLS"):
        client.list_cameras()


def test_certificate_must_be_trusted_unless_its_authority_is_named(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    node = TinyNode()
    node.answer_with(answer({"cameras": []}))

    with contextmanager(serve)(node, context):
        with pytest.raises(PeerRefusedError, match="not trusted"):
            MeteorClient(node.base_url, patience=QUICK).list_cameras()
        assert MeteorClient(node.base_url, verify=str(certificate), patience=QUICK).list_cameras() == []


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    address = x509.IPAddress(IPv4Address("127.0.0.1"))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - timedelta(days=1))
        .not_valid_after(now() + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = folder / "certificate.pem", folder / "key.pem"
    certificate_path.write_bytes(made.public_bytes(Encoding.PEM))
    key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate_path, key_path


def test_redirected_change_is_refused(client: MeteorClient, node: TinyNode) -> None:
    node.answer_with(Response("", 302, {"Location": "http://elsewhere/"}))

    with pytest.raises(PeerRefusedError, match="elsewhere"):
        client.admin.create_or_update_user("a", "b")


def test_anonymous_client_sends_no_credentials_from_netrc(
    node: TinyNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    node.answer_with(answer({"cameras": []}))

    MeteorClient(node.base_url).list_cameras()

    assert "Authorization" not in node.requests[0].headers


@pytest.mark.contract("issue-2.6/administration")
def test_credentials_are_sent(node: TinyNode) -> None:
    node.answer_with(answer({"user": {"user_id": "ü", "role_mask": 3}}))

    user = MeteorClient(node.base_url, auth=("ü", "pä:ß")).admin.login()
    MeteorClient(node.base_url, token="secret").admin.login()

    assert user.get_roles() == ["user", "camera_admin"]
    basic = node.requests[0].authorization
    assert basic is not None
    assert (basic.username, basic.password) == ("ü", "pä:ß")
    assert node.requests[1].headers["Authorization"] == "Bearer secret"
    with pytest.raises(InvalidDocumentError):
        MeteorClient(node.base_url, auth=("a", "b"), token="c")


@pytest.mark.contract("issue-2.6/data-frames")
def test_results_become_data_frames(client: MeteorClient, node: TinyNode) -> None:
    pytest.importorskip("pandas")
    record = file_record(1, TIME, meta=[Meta(NSString("skyClarity"), 60)])
    event = Event("cam", TIME, UUID(int=3), NSString("meteorpi"), STATUS_ID, [record])
    node.answer_with(
        answer(files_answer([record])),
        answer({"count": 1, "events": [event.as_dict()]}),
        answer({"count": 0, "files": []}),
    )

    files = client.search_files().to_pandas()
    events = client.search_events().to_pandas()
    empty = client.search_files().to_pandas()

    assert files.loc[f"{1:032x}", "meteorpi:skyClarity"] == 60
    assert files["file_time"].iloc[0].to_pydatetime().replace(tzinfo=None) == TIME
    assert events.loc[f"{3:032x}", "files"] == [f"{1:032x}"]
    assert len(empty) == 0
