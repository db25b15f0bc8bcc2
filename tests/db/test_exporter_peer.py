"""The exporter's half of HTTP: what it sends, how long it waits, which answers it understands."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meteorpi_db.exporting.peer import (
    MAX_REPLY_BYTES,
    Content,
    MultipartUpload,
    Peer,
    Reply,
    Timeouts,
    read_reply,
)
from meteorpi_model.errors import (
    CorruptContentError,
    PeerRefusedError,
    PeerUnavailableError,
    WorkStoppedError,
)
from tests.system.certificates import Certificates, make_certificates
from tests.system.scripted_peer import CONTINUE, Answer, HangUp, Raw, Received, ScriptedPeer, Silence

SHORT = Timeouts(connect=2, read=0.3, reply=1)
FILE_ID = uuid.UUID("a3949199e2df41a0bff500985dc2c93e")


def content_of(data: bytes, *, size: int | None = None, mime_type: str = "image/png") -> Content:
    return Content(
        file_id=FILE_ID,
        md5=hashlib.md5(data).hexdigest(),
        mime_type=mime_type,
        size_bytes=len(data) if size is None else size,
        open=lambda: nullcontext([data[start : start + 1000] for start in range(0, len(data), 1000)]),
    )


def nothing() -> None:
    """A check that never stops anything."""


@pytest.fixture
def talk() -> Iterator[Callable[..., Reply]]:
    """Sends one document to a peer that answers as given, and gives the reply."""

    def send(*answers: Answer) -> Reply:
        with ScriptedPeer(list(answers)).serving() as peer:
            client = Peer(peer.url, "user", "pass", timeouts=SHORT)
            try:
                return client.send_document({"type": "file"})
            finally:
                client.close()

    return send  # type: ignore[return-value]


@pytest.mark.contract("6.1/5")
def test_upload_is_one_part_named_file_with_exact_length() -> None:
    with ScriptedPeer([CONTINUE]).serving() as peer:
        client = Peer(peer.url, "user", "pass")

        client.send_content(content_of(b"abc" * 50_000), nothing)
        client.close()

    (request,) = peer.received
    assert request.path == f"/data/{FILE_ID.hex}/{hashlib.md5(b'abc' * 50_000).hexdigest()}"
    assert int(request.headers["Content-Length"]) == len(request.body)
    assert "Transfer-Encoding" not in request.headers
    head, _, rest = request.body.partition(b"\r\n\r\n")
    boundary = request.headers["Content-Type"].partition("boundary=")[2].encode()
    assert head.splitlines() == [
        b"--" + boundary,
        b'Content-Disposition: form-data; name="file"; filename="file"',
        b"Content-Type: image/png",
    ]
    assert rest == b"abc" * 50_000 + b"\r\n--" + boundary + b"--\r\n"


@pytest.mark.contract("6/credentials")
def test_credentials_are_basic_in_utf8() -> None:
    with ScriptedPeer([CONTINUE]).serving() as peer:
        client = Peer(peer.url, "žofie", "heslo ☄")

        client.send_document({"type": "file"})
        client.close()

    assert peer.received[0].headers["Authorization"] == "Basic xb5vZmllOmhlc2xvIOKYhA=="


@pytest.mark.parametrize("mime_type", ["a\r\nX-Evil: 1", "", " ", "typ\u017e", "a\0b"])
def test_mime_type_that_cannot_stand_in_a_header_is_not_sent(mime_type: str) -> None:
    head = bytes(next(iter(MultipartUpload(content_of(b"", mime_type=mime_type), nothing))))

    assert b"Content-Type: application/octet-stream\r\n\r\n" in head
    assert b"Evil" not in head


@given(st.binary(max_size=200_000))
def test_announced_length_of_an_upload_is_its_length(data: bytes) -> None:
    upload = MultipartUpload(content_of(data), nothing)

    assert sum(len(piece) for piece in upload) == len(upload)


@pytest.mark.parametrize("size", [5, 20])
def test_upload_of_content_with_another_length_than_recorded_is_cut_off(size: int) -> None:
    with ScriptedPeer([CONTINUE]).serving() as peer:
        client = Peer(peer.url, "user", "pass")

        with pytest.raises(CorruptContentError):
            client.send_content(content_of(b"0123456789", size=size), nothing)
        client.close()

    assert peer.received == []


def test_upload_stops_when_told_to() -> None:
    def stop() -> None:
        raise WorkStoppedError("enough")

    with ScriptedPeer([CONTINUE]).serving() as peer:
        client = Peer(peer.url, "user", "pass")

        with pytest.raises(WorkStoppedError):
            client.send_content(content_of(b"x" * 10_000), stop)
        client.close()

    assert peer.received == []


def test_requests_share_one_connection() -> None:
    with ScriptedPeer([CONTINUE]).serving() as peer:
        client = Peer(peer.url, "user", "pass")

        for _ in range(3):
            client.send_document({"type": "file"})
            client.send_content(content_of(b"123"), nothing)
        client.close()

    assert len({request.connection for request in peer.received}) == 1


def test_connection_that_the_peer_closed_meanwhile_is_opened_again() -> None:
    with ScriptedPeer([CONTINUE, HangUp(), CONTINUE]).serving() as peer:
        client = Peer(peer.url, "user", "pass")
        client.send_document({"type": "file"})

        reply = client.send_document({"type": "file"})
        client.close()

    assert reply.state == "continue"
    assert len(peer.received) == 3


@pytest.mark.contract("B-27")
def test_peer_that_hangs_up_again_and_again_is_unavailable(talk: Callable[..., Reply]) -> None:
    with pytest.raises(PeerUnavailableError):
        talk(HangUp())


@pytest.mark.contract("B-27")
def test_silent_peer_is_given_up(talk: Callable[..., Reply]) -> None:
    began = time.monotonic()

    with pytest.raises(PeerUnavailableError, match="did not answer in time"):
        talk(Silence())

    assert time.monotonic() - began < 10


@pytest.mark.contract("B-27")
def test_refused_connection_is_unavailable() -> None:
    with ScriptedPeer([CONTINUE]).serving() as peer:
        pass

    with pytest.raises(PeerUnavailableError, match="cannot be reached"):
        Peer(peer.url, "user", "pass").send_document({"type": "file"})


@pytest.mark.parametrize(("status", "kind"), [(400, PeerRefusedError), (401, PeerRefusedError)])
def test_refusal_carries_the_message_of_the_peer(
    status: int, kind: type[Exception], talk: Callable[..., Reply]
) -> None:
    with pytest.raises(kind, match=f"{status}: not you"):
        talk(Raw(status, b'{"message": "not you"}'))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 507])
def test_status_that_means_later_is_unavailable(status: int, talk: Callable[..., Reply]) -> None:
    with pytest.raises(PeerUnavailableError, match=str(status)):
        talk(Raw(status, b"<html>"))


def test_redirect_is_not_followed(talk: Callable[..., Reply]) -> None:
    reply = talk(Raw(302, b"", (("Location", "http://127.0.0.1:9/elsewhere"),)))

    assert reply.state == ""
    assert "302" in str(reply.message)


def test_endless_answer_is_refused(talk: Callable[..., Reply]) -> None:
    with pytest.raises(PeerRefusedError, match="longer"):
        talk(Raw(200, b" " * (MAX_REPLY_BYTES + 1)))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"state": 3}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"state": "need_status", "status_id": "xyz"}',
        b'{"state": "need_file_data", "file_id": 7}',
    ],
)
def test_answer_that_cannot_be_read_has_no_state_but_a_message(text: bytes) -> None:
    reply = read_reply(text)

    assert reply.state == ""
    assert reply.message


@given(st.binary())
def test_no_answer_breaks_the_reader(text: bytes) -> None:
    assert isinstance(read_reply(text), Reply)


@pytest.mark.contract("B-51")
@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://host/import",
        "host/import",
        "http://",
        "http:///import",
        "http://[::1",
        "//h/i",
    ],
)
def test_target_must_be_http_with_a_host(url: str) -> None:
    with pytest.raises(PeerRefusedError):
        Peer(url, "user", "pass")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.contract("B-27", "B-45")
def test_certificate_of_an_unknown_authority_is_refused(certificates: Certificates) -> None:
    with ScriptedPeer([CONTINUE], certificates.server_context()).serving() as peer:
        client = Peer(peer.url, "user", "pass")

        with pytest.raises(PeerRefusedError, match="TLS"):
            client.send_document({"type": "file"})
        client.close()

    assert peer.received == []


@pytest.mark.contract("B-45")
def test_certificate_of_the_configured_authority_is_accepted(certificates: Certificates) -> None:
    with ScriptedPeer([CONTINUE], certificates.server_context()).serving() as peer:
        client = Peer(peer.url, "user", "pass", ca_file=str(certificates.authority))

        reply = client.send_document({"type": "file"})
        client.close()

    assert reply.state == "continue"


def test_missing_file_of_authorities_is_an_error_of_the_peer(tmp_path: Path) -> None:
    client = Peer("https://127.0.0.1:9/import", "user", "pass", ca_file=str(tmp_path / "none.pem"))

    with pytest.raises(PeerRefusedError, match="cannot be made"):
        client.send_document({"type": "file"})


def test_probe_takes_any_state_as_a_sign_of_life() -> None:
    with ScriptedPeer([{"state": "failed", "message": "unknown"}]).serving() as peer:
        client = Peer(peer.url, "user", "pass")

        client.probe()
        client.close()

    assert [request.document for request in peer.received] == [{"type": "probe"}]


@pytest.mark.parametrize("answer", [Raw(200, b"<html>"), Raw(403, b"{}"), Raw(302)])
def test_probe_fails_unless_an_import_route_answers(answer: Answer) -> None:
    def script(request: Received) -> Answer:
        return answer

    with ScriptedPeer(script).serving() as peer:
        client = Peer(peer.url, "user", "pass")

        with pytest.raises(PeerRefusedError):
            client.probe()
        client.close()
