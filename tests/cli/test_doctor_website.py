"""``meteorpi doctor --url``: every way in which a web server in front can spoil a deployment, for real."""

from __future__ import annotations

import datetime
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_server.cli.doctor import certificates, website
from meteorpi_server.cli.doctor.finding import Finding
from meteorpi_server.cli.doctor.site import Site
from meteorpi_server.deployment import make_meteor_app
from meteorpi_server.settings import Settings
from meteorpi_server.standalone import StandaloneServer
from tests.cli.conftest import Meteorpi, add_file
from tests.cli.meddling import HTML, Meddler, having, in_front_of, refusing, without
from tests.system.certificates import make_certificates

WAIT_SECONDS = 60
DAY = datetime.timedelta(days=1)


def served(database: MeteorDatabase, settings: Settings) -> Iterator[int]:
    """The port of a node that is served by itself."""
    server = StandaloneServer(make_meteor_app(database, settings).app, settings, 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server.port
    server.stop()
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of these tests does not hurry."""
    monkeypatch.setattr(website, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def port(node: MeteorDatabase) -> Iterator[int]:
    add_file(node, 1, b"a picture of the sky")
    yield from served(node, Settings(url_path="/api"))


@pytest.fixture
def trusting_port(node: MeteorDatabase) -> Iterator[int]:
    """A node that believes what its proxy says about callers."""
    yield from served(node, Settings(url_path="/api", trusted_proxy="127.0.0.1"))


def look(port: int, database: MeteorDatabase | None = None) -> list[Finding]:
    return list(website.check_website(Site(f"http://127.0.0.1:{port}/api"), database))


def spoilt(findings: list[Finding]) -> dict[str, Finding]:
    """What is wrong, by subject."""
    return {each.subject: each for each in findings if each.level in ("warning", "error")}


@pytest.mark.contract("issue-3.4/doctor-web")
def test_good_deployment_has_nothing_to_mend(node: MeteorDatabase, port: int) -> None:
    with in_front_of(port, Meddler()) as front:
        findings = look(front, node)

    assert spoilt(findings) == {}
    assert {each.subject for each in findings if each.level == "ok"} >= {
        *("web server", "clock of the site", "problem documents", "authorization", "chunked uploads"),
        *("upload size", "encoded slashes", "searches", "contents", "ranges", "addresses"),
    }


def decoded(head: bytes) -> bytes:
    """What a proxy does that knows slashes only."""
    return head.replace(b"%2F", b"/").replace(b"//b", b"/b")


@pytest.mark.contract("issue-3.4/doctor-web")
@pytest.mark.parametrize(
    ("meddler", "subject", "remedy"),
    [
        pytest.param(
            Meddler(request=without("Authorization")),
            "authorization",
            "WSGIPassAuthorization On",
            id="credentials",
        ),
        pytest.param(
            Meddler(request=refusing(401, rb"Authorization")),
            "authorization",
            "authentication",
            id="own-passwords",
        ),
        pytest.param(
            Meddler(request=refusing(411, rb"chunked")),
            "chunked uploads",
            "proxy_http_version 1.1",
            id="no-chunks",
        ),
        pytest.param(
            Meddler(request=refusing(413, rb"Content-Length: \d{8}")),
            "upload size",
            "client_max_body_size",
            id="body-limit",
        ),
        pytest.param(Meddler(request=decoded), "encoded slashes", "AllowEncodedSlashes On", id="slashes"),
        pytest.param(
            Meddler(request=refusing(404, rb"%2F")), "encoded slashes", "proxy_pass", id="slashes-refused"
        ),
        pytest.param(
            Meddler(request=refusing(400, rb"%7B")), "searches", "proxy_pass", id="searches-refused"
        ),
        pytest.param(Meddler(request=without("Range")), "ranges", "max_ranges", id="no-ranges"),
        pytest.param(
            Meddler(answer=having("X-Sendfile: /var/lib/meteorpi/files/a")),
            "contents",
            "XSendFile On",
            id="leak",
        ),
        pytest.param(
            Meddler(answer=lambda head: without("Content-Length")(head), body=lambda body: b""),
            "web server",
            "",
            id="nothing-arrives",
        ),
        pytest.param(
            Meddler(answer=without("X-Content-Type-Options")),
            "headers",
            "proxy_hide_header",
            id="headers-lost",
        ),
        pytest.param(
            Meddler(answer=without("Content-Security-Policy")), "contents", "policy", id="policy-lost"
        ),
        pytest.param(
            Meddler(answer=lambda head: HTML % 404 if b" 404 " in head else head),
            "problem documents",
            "proxy_intercept_errors off",
            id="problems-replaced",
        ),
        pytest.param(
            Meddler(request=refusing(502, rb"GET")),
            "web server",
            "error log of the web server",
            id="nobody-behind",
        ),
        pytest.param(
            Meddler(answer=lambda head: having("Date: Thu, 01 Jan 2015 00:00:00 GMT")(without("Date")(head))),
            "clock of the site",
            "NTP",
            id="clock",
        ),
    ],
)
def test_what_a_web_server_spoils_is_found_with_a_remedy(
    port: int, meddler: Meddler, subject: str, remedy: str
) -> None:
    with in_front_of(port, meddler) as front:
        found = spoilt(look(front))

    assert subject in found
    assert remedy in found[subject].remedy


@pytest.mark.contract("issue-3.4/doctor-web")
def test_file_that_the_web_server_should_send_and_does_not_is_found(port: int) -> None:
    """As when the node hands contents over and the web server has never heard of it."""

    def emptied(head: bytes) -> bytes:
        if b"Repr-Digest" not in head:
            return head
        return without("Content-Length")(having("Content-Length: 0")(head))

    state = {"is_content": False}

    def answer(head: bytes) -> bytes:
        state["is_content"] = b"Repr-Digest" in head
        return emptied(head)

    meddler = Meddler(answer=answer, body=lambda body: b"" if state["is_content"] else body)
    with in_front_of(port, meddler) as front:
        found = spoilt(look(front))

    assert "sends nothing" in found["contents"].detail
    assert "file_offload" in found["contents"].remedy


@pytest.mark.contract("issue-3.4/doctor-web")
def test_looking_often_locks_nobody_out(node: MeteorDatabase, port: int) -> None:
    node.create_or_update_user("ada", "a long one", ["user"])
    for _ in range(8):
        look(port, node)

    assert node.log_in("ada", "a long one", "127.0.0.1").user_id == "ada"


@pytest.mark.contract("issue-3.4/doctor-web")
def test_caller_who_can_choose_the_own_address_is_found(node: MeteorDatabase, trusting_port: int) -> None:
    with in_front_of(trusting_port, Meddler()) as front:
        assert "choose the address" in spoilt(look(front, node))["addresses"].detail

    replacing = Meddler(
        request=lambda head: having("X-Forwarded-For: 127.0.0.1")(without("X-Forwarded-For")(head))
    )
    with in_front_of(trusting_port, replacing) as front:
        assert "addresses" not in spoilt(look(front, node))


@pytest.mark.contract("issue-3.4/doctor-web")
def test_proxy_that_hides_who_calls_is_found(node: MeteorDatabase, trusting_port: int) -> None:
    hiding = Meddler(
        request=lambda head: having("X-Forwarded-For: 192.0.2.1")(without("X-Forwarded-For")(head))
    )
    with in_front_of(trusting_port, hiding) as front:
        found = spoilt(look(front, node))

    assert "set trusted_proxy" in found["addresses"].remedy


@pytest.mark.contract("issue-3.4/doctor")
def test_command_goes_through_the_web_server(meteorpi: Meteorpi, port: int) -> None:
    with in_front_of(port, Meddler(request=without("Authorization"))) as front:
        done = meteorpi("doctor", "--url", f"http://127.0.0.1:{front}/api", "--json")

    assert done.code == 1
    (found,) = [row for row in done.rows if row["subject"] == "authorization"]
    assert found["level"] == "error"
    assert "WSGIPassAuthorization" in found["remedy"]


def test_url_that_is_none_is_refused(meteorpi: Meteorpi) -> None:
    done = meteorpi("doctor", "--url", "hub.example/api")

    assert done.code == 2
    assert "--url" in done.err


@pytest.mark.contract("issue-3.4/doctor-web")
def test_silence_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        closed = silent.getsockname()[1]

    (found,) = spoilt(look(closed)).values()

    assert (found.subject, found.level) == ("web server", "error")
    assert "firewall" in found.remedy


def test_wrong_path_is_found(port: int) -> None:
    findings = list(website.check_website(Site(f"http://127.0.0.1:{port}/elsewhere"), None))

    assert "url_path" in spoilt(findings)["web server"].remedy


@pytest.mark.contract("issue-3.4/doctor-tls")
@pytest.mark.parametrize(
    ("options", "trusts", "level", "words"),
    [
        pytest.param({}, True, "warning", "ends in 0 days", id="soon"),
        pytest.param({"valid_for": 90 * DAY}, True, "ok", "valid for", id="good"),
        pytest.param({"valid_for": -DAY}, True, "error", "expired", id="expired"),
        pytest.param({"address": "127.0.0.2"}, True, "error", "not valid for '127.0.0.1'", id="other-host"),
        pytest.param({"valid_for": 90 * DAY}, False, "error", "local issuer", id="unknown-authority"),
    ],
)
def test_certificates_are_looked_at(
    tmp_path: Path, port: int, options: dict[str, object], trusts: bool, level: str, words: str
) -> None:
    made = make_certificates(tmp_path, **options)  # type: ignore[arg-type]  # each of the type of its parameter
    with in_front_of(port, Meddler(), made.server_context()) as front:
        site = Site(f"https://127.0.0.1:{front}/api", str(made.authority) if trusts else None)
        findings = list(website.check_website(site, None))

    (found,) = [each for each in findings if each.subject == "tls" and each.level != "note"]
    assert (found.level, words in found.detail) == (level, True), found
    assert bool(found.remedy) is (level != "ok")
    assert ("authorization" in {each.subject for each in findings}) is (level != "error")


def _refuse_in_plain_text(plain: socket.socket) -> None:
    client, _ = plain.accept()
    with client, suppress(OSError):
        client.recv(1)
        client.sendall(HTML % 400)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass


@pytest.mark.contract("issue-3.4/doctor-tls")
def test_port_that_speaks_no_tls_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        speaker = threading.Thread(target=_refuse_in_plain_text, args=(plain,))
        speaker.start()
        (found,) = certificates.check_tls(Site(f"https://127.0.0.1:{plain.getsockname()[1]}/api"))
        speaker.join(WAIT_SECONDS)

    assert found.level == "error"
    assert "no TLS" in found.detail


@pytest.mark.contract("issue-3.4/doctor-tls")
def test_unencrypted_answers_beside_tls_are_found(port: int) -> None:
    site = Site("https://127.0.0.1/api")
    redirect = b"HTTP/1.1 301 Moved\r\nLocation: https://127.0.0.1/api/health\r\nContent-Length: 0\r\n\r\n"

    (answered,) = certificates.check_redirect(site, port)
    with in_front_of(port, Meddler(request=lambda head: redirect)) as front:
        (redirected,) = certificates.check_redirect(site, front)

    assert (answered.level, redirected.level) == ("warning", "ok")


def test_unencrypted_site_is_an_error_outside_of_this_machine() -> None:
    (inside,) = certificates.check_tls(Site("http://localhost/api"))
    (outside,) = certificates.check_tls(Site("http://hub.example/api"))

    assert (inside.level, outside.level) == ("note", "error")
