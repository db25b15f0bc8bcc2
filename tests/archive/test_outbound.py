"""Requests to sources over real connections: where they go, what is sent, and what is made of the answers."""

from __future__ import annotations

import datetime
import gzip
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meteorpi_db.testing.processes import free_port
from meteorpi_model.errors import ConfigurationError
from meteorpi_model.values import now
from meteorpi_server.outbound import (
    AddressPolicy,
    AllowedSources,
    Outbound,
    OutboundError,
    PooledTransport,
    Reason,
    Request,
    Timeouts,
)
from meteorpi_server.outbound.choosing import MakeTransport, transport_called
from meteorpi_server.outbound.facts import Facts, ask, ask_all
from meteorpi_server.outbound.headers import file_name
from meteorpi_server.outbound.transport import Hop, Reply, Transport
from tests.archive.faulty_source import (
    MISBEHAVIOURS,
    Behaviour,
    Exchange,
    FaultySource,
    dripping_body,
    dripping_trailers,
    gzipped,
    redirecting,
    serving,
    silent,
)

QUICK = Timeouts(connect=5, first_byte=0.4, idle=0.4, total=30)
PATIENT = Timeouts(connect=30, first_byte=30, idle=30, total=60)

MakeOutbound = Callable[..., Outbound]


@pytest.fixture
def source() -> Iterator[FaultySource]:
    with FaultySource(dict(MISBEHAVIOURS)) as server:
        yield server


@pytest.fixture
def outbound(transport: MakeTransport) -> Iterator[MakeOutbound]:
    """Makes clients that may ask `allowed`, over each transport, and closes them."""
    with ExitStack() as stack:

        def make(
            *allowed: str,
            hosts: dict[str, list[str]] | None = None,
            timeouts: Timeouts = PATIENT,
            ca_file: Path | None = None,
            max_redirects: int = 5,
        ) -> Outbound:
            policy = AddressPolicy(AllowedSources.parse(allowed), lambda host: (hosts or {})[host])
            made = transport(timeouts, ca_file=None if ca_file is None else str(ca_file))
            client = Outbound(made, policy, timeouts=timeouts, max_redirects=max_redirects)
            stack.callback(client.close)
            return client

        yield make


def content(client: Outbound, url: str, **options: object) -> bytes:
    with client.get(Request(url=url, **options)) as answer:  # type: ignore[arg-type]  # options of all types
        return b"".join(answer)


def failure(client: Outbound, url: str, **options: object) -> OutboundError:
    with pytest.raises(OutboundError) as failed:
        content(client, url, **options)
    return failed.value


@pytest.mark.contract("archive-3.14/addresses", "archive-defect-11")
def test_loopback_is_refused_before_a_connection_is_made(
    source: FaultySource, outbound: MakeOutbound
) -> None:
    error = failure(outbound(f"other.example:{source.port}"), source.url("/"))

    assert error.reason in {Reason.REFUSED_ADDRESS, Reason.REFUSED_URL}
    assert source.connections == []


class Recorder(Transport):
    """A transport that notes where it would connect to, and answers with redirects."""

    def __init__(self, *targets: str) -> None:
        self.targets = list(targets)
        self.hops: list[Hop] = []

    def send(self, hop: Hop) -> Reply:
        self.hops.append(hop)
        return Redirect(self.targets[len(self.hops) - 1])

    def close(self) -> None:
        """Nothing is open."""


class Redirect(Reply):
    def __init__(self, target: str) -> None:
        self.status = 307
        self.headers = {"location": target}

    def read(self) -> bytes:
        return b""

    def interrupt(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.contract("archive-3.14/addresses", "archive-defect-11")
def test_address_that_was_checked_is_dialled_though_the_name_has_another_by_then() -> None:
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])
    transport = Recorder("http://two.example/")
    client = Outbound(transport, AddressPolicy(resolver=lambda host: next(answers)))

    with pytest.raises(OutboundError) as failed:
        client.get(Request(url="http://one.example/"))

    assert failed.value.reason is Reason.REFUSED_ADDRESS
    assert [str(hop.address) for hop in transport.hops] == ["93.184.216.34"]
    assert transport.hops[0].headers["Host"] == "one.example"


@pytest.mark.contract("archive-3.14/addresses", "archive-defect-11", "archive-6.7")
@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://0x7f.1/",
        "//169.254.169.254/latest/",
        "http://public.example:22/",
        "http://user:pass@public.example/",
        "file:///etc/passwd",
        "http:\\\\127.0.0.1/",
        "ht\ttp://127.0.0.1/",
    ],
)
def test_redirect_is_checked_as_the_first_address_was(target: str) -> None:
    transport = Recorder(target)
    policy = AddressPolicy(resolver=lambda host: ["127.0.0.1" if "7f" in host else "93.184.216.34"])

    with pytest.raises(OutboundError) as failed:
        Outbound(transport, policy).get(Request(url="http://public.example/"))

    assert failed.value.reason in {Reason.REFUSED_ADDRESS, Reason.REFUSED_URL}
    assert len(transport.hops) == 1


@pytest.mark.contract("archive-3.14/allowed")
def test_name_is_resolved_here_and_stays_in_the_request(source: FaultySource, outbound: MakeOutbound) -> None:
    source.routes["/a"] = serving(b"content")
    name = f"source.example:{source.port}"
    client = outbound(name, hosts={"source.example": ["127.0.0.1"]})

    assert content(client, f"http://{name}/a?b=c%20d#e") == b"content"

    asked = source.requests[0]
    assert asked.target == "/a?b=c%20d"
    assert asked.headers["host"] == name
    assert asked.headers["accept-encoding"] == "identity"


def test_next_address_is_tried_when_one_takes_no_connection(
    source: FaultySource, outbound: MakeOutbound
) -> None:
    source.routes["/a"] = serving(b"content")
    name = f"source.example:{source.port}"
    client = outbound(name, hosts={"source.example": ["127.0.0.9", "127.0.0.1"]})

    assert content(client, f"http://{name}/a") == b"content"


@pytest.mark.contract("archive-3.14/addresses", "archive-fpx/transports", "archive-3.14/transports")
def test_redirects_are_followed_five_times(source: FaultySource, outbound: MakeOutbound) -> None:
    source.routes |= {f"/{number}": redirecting(f"/{number + 1}") for number in range(6)}
    source.routes["/6"] = serving(b"content")
    client = outbound(source.url())

    assert content(client, source.url("/1")) == b"content"
    assert failure(client, source.url("/0")).reason is Reason.REDIRECTS
    assert failure(client, source.url("/loop")).reason is Reason.REDIRECTS


@pytest.mark.contract("archive-3.14/headers", "archive-6.7", "archive-fpx/transports")
def test_headers_of_the_caller_stay_at_the_first_origin(source: FaultySource, outbound: MakeOutbound) -> None:
    with FaultySource() as other:
        source.routes["/near"] = redirecting("/there")
        source.routes["/there"] = redirecting(other.url("/away"))
        other.routes["/away"] = redirecting(source.url("/back"))
        source.routes["/back"] = serving(b"content")
        client = outbound(source.url(), other.url())

        assert (
            content(client, source.url("/near"), headers={"Authorization": "secret", "X-A": "1"})
            == b"content"
        )

        assert [asked.headers.get("authorization") for asked in source.requests] == ["secret", "secret", None]
        assert other.requests[0].headers.keys().isdisjoint({"authorization", "x-a", "cookie", "referer"})


@pytest.mark.contract("archive-3.14/headers")
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "x"},
        {"connection": "close"},
        {"Content-Length": "1"},
        {"content-type": "a/b"},
        {"Transfer-Encoding": "chunked"},
        {"Range": "bytes=0-"},
        {"If-Range": '"x"'},
        {"If-None-Match": "*"},
        {"Upgrade": "h2c"},
        {"Proxy-Authorization": "x"},
        {"Accept-Encoding": "gzip"},
        {"TE": "trailers"},
        {"X-A": "1\r\nX-B: 2"},
        {"X-A": "1\n"},
        {"X-A": "\x00"},
        {"X-A": " 1"},
        {"X-A": "\u00e9"},
        {"X A": "1"},
        {"X-A:": "1"},
        {"": "1"},
        {"X-A\r\n": "1"},
        {"X-A": "1", "x-a": "2"},
        {f"X-{number}": "1" for number in range(17)},
    ],
)
def test_header_that_is_not_the_callers_is_refused(headers: dict[str, str], outbound: MakeOutbound) -> None:
    client = outbound("source.example")

    with pytest.raises(OutboundError) as refusal:
        client.check("http://source.example/", headers)

    assert refusal.value.reason is Reason.REFUSED_HEADER
    assert failure(client, "http://source.example/", headers=headers).reason is Reason.REFUSED_HEADER


@pytest.mark.contract("archive-3.14/headers")
def test_headers_are_sent_along(source: FaultySource, outbound: MakeOutbound) -> None:
    source.routes["/a"] = serving(b"content")
    headers = {f"X-{number}": "a b" for number in range(14)} | {
        "user-agent": "mine",
        "Authorization": "Bearer x",
    }
    client = outbound(source.url())

    client.check(source.url("/a"), headers)
    content(client, source.url("/a"), headers=headers)

    sent = source.requests[0].headers
    assert {name.lower(): value for name, value in headers.items()}.items() <= sent.items()


@pytest.mark.contract("archive-defect-1", "archive-fpx/transports")
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/short", Reason.CUT_OFF),
        ("/cut-chunks", Reason.CUT_OFF),
        ("/reset", Reason.CUT_OFF),
        ("/refuses", Reason.CUT_OFF),
        ("/bomb", Reason.CODING),
        ("/tiny-members", Reason.CODING),
        ("/no-gzip", Reason.CODING),
        ("/half-gzip", Reason.CUT_OFF),
        ("/brotli", Reason.CODING),
        ("/two-codings", Reason.CODING),
        ("/unknown-framing", Reason.CODING),
        ("/part-unasked", Reason.STATUS),
        ("/gone", Reason.STATUS),
        ("/missing", Reason.STATUS),
        ("/broken", Reason.STATUS),
        ("/empty-success", Reason.STATUS),
        ("/no-location", Reason.STATUS),
        ("/to-private", Reason.REFUSED_ADDRESS),
        ("/to-metadata", Reason.REFUSED_ADDRESS),
        ("/to-file", Reason.REFUSED_URL),
        ("/garbage", Reason.CUT_OFF),
    ],
)
def test_source_that_misbehaves_is_a_failure_never_a_short_content(
    source: FaultySource, outbound: MakeOutbound, path: str, reason: Reason
) -> None:
    error = failure(outbound(source.url()), source.url(path))

    assert error.reason is reason


@pytest.mark.contract("archive-fpx/timeout", "archive-defect-21", "archive-fpx/transports")
@pytest.mark.parametrize("path", ["/silent", "/silent-midway", "/dripping-head", "/endless-continue"])
def test_source_that_says_nothing_is_given_up(
    source: FaultySource, outbound: MakeOutbound, path: str
) -> None:
    error = failure(outbound(source.url(), timeouts=QUICK), source.url(path))

    assert error.reason is Reason.TIMEOUT
    assert error.is_worth_retrying


@pytest.mark.contract("archive-fpx/timeout", "archive-defect-21")
@pytest.mark.parametrize("behaviour", [dripping_body, dripping_trailers])
def test_source_that_never_ends_is_given_up(
    source: FaultySource, outbound: MakeOutbound, behaviour: Behaviour
) -> None:
    source.routes["/drip"] = behaviour
    client = outbound(source.url(), timeouts=Timeouts(connect=5, first_byte=30, idle=30, total=0.3))

    assert failure(client, source.url("/drip")).reason is Reason.TIMEOUT


def test_source_that_takes_no_connection_is_unreachable(outbound: MakeOutbound) -> None:
    url = f"http://127.0.0.1:{free_port()}/"

    error = failure(outbound(url), url)

    assert error.reason is Reason.UNREACHABLE
    assert error.is_worth_retrying


def test_query_of_a_url_is_in_no_error_and_no_log(
    source: FaultySource, outbound: MakeOutbound, caplog: pytest.LogCaptureFixture
) -> None:
    client = outbound(source.url())

    with caplog.at_level("INFO"):
        errors = [
            failure(client, source.url(f"{path}?sig=SECRET")) for path in ("/short", "/gone", "/refuses")
        ]

    assert not any("SECRET" in str(error) for error in errors)
    assert "SECRET" not in caplog.text


def test_coded_content_of_several_members_is_decoded(source: FaultySource, outbound: MakeOutbound) -> None:
    parts = [bytes([number]) * 70_000 for number in range(20)]
    source.routes["/coded"] = serving(b"".join(map(gzip.compress, parts)), Content_Encoding="x-gzip")

    assert content(outbound(source.url()), source.url("/coded")) == b"".join(parts)


@pytest.mark.contract("archive-3.14/headers")
def test_coded_content_is_decoded_and_has_no_size(source: FaultySource, outbound: MakeOutbound) -> None:
    body = b"a line of text\n" * 100_000
    source.routes["/coded"] = gzipped(body)

    with outbound(source.url()).get(Request(url=source.url("/coded"))) as answer:
        assert answer.is_coded
        assert answer.size is None
        assert b"".join(answer) == body


@pytest.mark.contract("archive-3.14/prefetch", "archive-defect-18", "archive-fpx/transports")
def test_connection_is_kept_for_the_next_file(source: FaultySource, outbound: MakeOutbound) -> None:
    source.routes["/a"] = serving(b"content")
    client = outbound(source.url())

    for _ in range(20):
        assert content(client, source.url("/a")) == b"content"

    assert len(source.connections) == 1
    assert len(source.requests) == 20


def test_connection_that_the_source_closed_meanwhile_is_opened_again(
    source: FaultySource, outbound: MakeOutbound
) -> None:
    served: list[Exchange] = []

    def once(exchange: Exchange) -> None:
        served.append(exchange)
        if len(served) == 2:  # the second request of the first connection finds it closed
            exchange.reset()
        else:
            exchange.whole(b"content")

    source.routes["/a"] = once
    client = outbound(source.url())

    assert [content(client, source.url("/a")) for _ in range(2)] == [b"content", b"content"]


@pytest.mark.contract("archive-3.12/retries")
def test_part_of_a_content_is_asked_for_under_a_condition(
    source: FaultySource, outbound: MakeOutbound
) -> None:
    source.routes["/a"] = lambda exchange: exchange.file(b"0123456789")
    client = outbound(source.url())

    with client.get(Request(url=source.url("/a"), start=3, stop=7, validator='"v1"')) as answer:
        assert (answer.status, answer.start, answer.size, b"".join(answer)) == (206, 3, 10, b"3456")
    with client.get(Request(url=source.url("/a"), start=3, validator='"v0"')) as answer:
        assert (answer.status, answer.start, b"".join(answer)) == (200, 0, b"0123456789")

    assert source.requests[0].headers["if-range"] == '"v1"'


@pytest.mark.parametrize("span", ["bytes 4-6/10", "bytes 3-7/10", "bytes 3-6/5", "bytes 6-3/10", "x", None])
def test_part_that_does_not_fit_is_refused(
    source: FaultySource, outbound: MakeOutbound, span: str | None
) -> None:
    fields = {} if span is None else {"Content_Range": span}
    source.routes["/a"] = lambda exchange: exchange.whole(b"3456", "206 Partial Content", **fields)

    error = failure(outbound(source.url()), source.url("/a"), start=3, stop=7, validator='"v1"')

    assert error.reason is Reason.CHANGED


@pytest.mark.contract("archive-fpx/transports", "archive-3.14/transports")
@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"Content-Length: 5\r\nContent-Length: 6\r\n", Reason.CUT_OFF),
        (b"Content-Length: 5, 6\r\n", Reason.CUT_OFF),
        (b"Content-Length: 5 bytes\r\n", Reason.CUT_OFF),
        (b"Content-Length: -5\r\n", Reason.CUT_OFF),
        (b"Content-Length: 5\r\n" + b"X-A: 1\r\n" * 150, Reason.CUT_OFF),
        (b"Content-Length: 5\r\nX-A: " + b"x" * 70_000 + b"\r\n", Reason.CUT_OFF),
        (b"".join(b"X-%d: %s\r\n" % (n, b"x" * 30_000) for n in range(3)), Reason.CUT_OFF),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Reason.CODING),
        (b"Transfer-Encoding: gzip, chunked\r\n", Reason.CODING),
    ],
    ids=["two lengths", "lengths", "unit", "sign", "many fields", "long field", "long header", "both", "two"],
)
def test_answer_that_libraries_read_differently_is_refused_by_all(
    source: FaultySource, outbound: MakeOutbound, header: bytes, reason: Reason
) -> None:
    source.routes["/a"] = lambda exchange: exchange.send(b"HTTP/1.1 200 OK\r\n" + header + b"\r\nhello")

    assert failure(outbound(source.url()), source.url("/a")).reason is reason


@pytest.mark.contract("archive-defect-1")
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX-",
        b"HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX A: 1\r\nContent-Length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 101 OK\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello",
        b"HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["half", "no colon", "space", "space before colon", "NUL", "switch", "version", "line before"],
)
def test_header_that_cannot_be_read_is_no_answer(
    source: FaultySource, outbound: MakeOutbound, answer: bytes
) -> None:
    """Whoever goes on without the rest of a header goes on without the length in it."""
    source.routes["/a"] = lambda exchange: exchange.send(answer)

    assert failure(outbound(source.url()), source.url("/a")).reason is Reason.CUT_OFF


@pytest.mark.contract("archive-fpx/transports", "archive-3.14/transports")
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\nX-A: 1, 2\nContent-Length: 5\n\nhello",
        b"HTTP/1.1 200\r\nX-A: 1,\r\n 2\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nX-A: 1\r\nx-a:2 \r\n\r\nhello",
        b"HTTP/1.1 200 \r\nX-A: 1, 2\r\nConnection: close\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX-A: 1, 2\r\nContent-Length: 5\r\n\r\nhello and more",
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1;x=y\r\nh\r\n4 \r\nello\r\n0\r\nX-A: 3\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nX-A: 0\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nX-A: 1, 2\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["line feeds", "folded", "to the end", "closed", "too much", "chunks", "announced"],
)
def test_answer_is_read_alike_by_all(source: FaultySource, outbound: MakeOutbound, answer: bytes) -> None:
    source.routes["/a"] = lambda exchange: exchange.send(answer)
    client = outbound(source.url())

    for _ in range(2):  # what is left over does not disturb the next one
        with client.get(Request(url=source.url("/a"))) as found:
            assert (b"".join(found), found.headers["x-a"]) == (b"hello", "1, 2")


@pytest.mark.contract("archive-fpx/transports", "archive-3.14/transports")
def test_connection_is_kept_for_the_next_part(source: FaultySource, outbound: MakeOutbound) -> None:
    source.routes["/a"] = lambda exchange: exchange.file(b"0123456789")
    client = outbound(source.url())

    for start in range(5):
        part = Request(url=source.url("/a"), start=start, stop=start + 2, validator='"v1"')
        with client.get(part) as answer:
            assert next(iter(answer)) == b"0123456789"[start : start + 2]

    assert len(source.connections) == 1


def test_content_that_is_read_when_the_client_is_closed_is_whole(
    source: FaultySource, outbound: MakeOutbound
) -> None:
    body = b"x" * 3_000_000
    source.routes["/a"] = serving(body)
    client = outbound(source.url())

    with client.get(Request(url=source.url("/a"))) as answer:
        chunks = iter(answer)
        first = next(chunks)
        client.close()
        rest = b"".join(chunks)

    assert first + rest == body


class Authority:
    """Makes certificates that only those trust who name its file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.file = directory / "ca.pem"
        certificate = self._signed(self.name, self.key, x509.BasicConstraints(ca=True, path_length=None))
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _signed(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() - datetime.timedelta(days=1))
            .not_valid_after(now() + datetime.timedelta(days=1))
            .add_extension(extension, critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )

    def context(self, host: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]),
            key,
            x509.SubjectAlternativeName([x509.DNSName(host)]),
        )
        path = self.directory / f"{host}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


@pytest.mark.contract("archive-3.14/addresses", "archive-fpx/transports", "archive-3.14/transports")
def test_certificate_is_compared_with_the_name_though_an_address_is_dialled(
    tmp_path: Path, outbound: MakeOutbound
) -> None:
    authority = Authority(tmp_path)
    context = authority.context("source.example")
    asked_for: list[str | None] = []
    context.sni_callback = lambda sock, name, _: asked_for.append(name)
    hosts = {"source.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]}
    with FaultySource({"/a": serving(b"content")}, context) as source:
        names = [f"{host}:{source.port}" for host in hosts]
        client = outbound(*names, source.url(), hosts=hosts, ca_file=authority.file)

        found = content(client, f"https://{names[0]}/a")
        wrong_name = failure(client, f"https://{names[1]}/a")
        no_name = failure(client, source.url("/a"))
        strange = failure(outbound(*names, hosts=hosts), f"https://{names[0]}/a")

    assert found == b"content"
    assert {wrong_name.reason, no_name.reason, strange.reason} == {Reason.UNTRUSTED}
    assert not strange.is_worth_retrying
    assert asked_for == ["source.example", "other.example", None, "source.example"]


@pytest.mark.contract("archive-3.14/prefetch")
def test_sources_are_asked_for_their_length_without_being_read(
    source: FaultySource, outbound: MakeOutbound
) -> None:
    source.routes["/a"] = serving(
        b"content", ETag='"x"', Last_Modified="Sun, 13 Dec 2015 09:46:40 GMT",
        Content_Disposition='attachment; filename="a.fits"', Content_Type="image/fits; x=y",
    )  # fmt: skip
    client = outbound(source.url())

    found = ask(client, Request(url=source.url("/a")))

    assert found == Facts(
        size=7, validator='"x"', modified=1_450_000_000, name="a.fits", content_type="image/fits"
    )
    assert [asked.method for asked in source.requests] == ["HEAD"]


@pytest.mark.contract("archive-3.14/prefetch")
@pytest.mark.parametrize("status", ["405 Method Not Allowed", "403 Forbidden", "501 Not Implemented"])
def test_source_that_answers_no_head_is_asked_for_one_byte(
    source: FaultySource, outbound: MakeOutbound, status: str
) -> None:
    def behave(exchange: Exchange) -> None:
        if exchange.method == "HEAD":
            exchange.whole(b"", status)
        else:
            exchange.file(b"x" * 1_000_000)

    source.routes["/a"] = behave

    assert ask(outbound(source.url()), Request(url=source.url("/a"))).size == 1_000_000


def test_coded_source_has_no_length_and_no_validator(source: FaultySource, outbound: MakeOutbound) -> None:
    source.routes["/a"] = gzipped(b"x" * 1000)

    found = ask(outbound(source.url()), Request(url=source.url("/a")))

    assert (found.size, found.validator) == (None, None)


@pytest.mark.contract("archive-3.14/prefetch")
def test_many_sources_are_asked_eight_at_once(source: FaultySource, outbound: MakeOutbound) -> None:
    source.routes |= {f"/{number}": serving(b"x" * number) for number in range(100)}
    paths = [*(f"/{number}" for number in range(100)), "/missing", "/refuses"]
    client = outbound(source.url())

    found = ask_all(client, [Request(url=source.url(path)) for path in paths])

    assert [facts.size for facts in found[:100] if isinstance(facts, Facts)] == list(range(100))
    assert [error.reason for error in found[100:] if isinstance(error, OutboundError)] == [
        Reason.STATUS,
        Reason.CUT_OFF,
    ]
    assert len(source.connections) <= 8 + 6  # each that breaks off costs some


def test_sources_that_cannot_be_asked_in_time_have_failed(
    source: FaultySource, outbound: MakeOutbound
) -> None:
    source.routes["/a"] = silent
    requests = [Request(url=source.url("/a"))] * 50

    found = ask_all(outbound(source.url(), timeouts=QUICK), requests, at_once=2, seconds=0.2)

    assert {error.reason for error in found if isinstance(error, OutboundError)} == {Reason.TIMEOUT}
    assert len(found) == 50
    assert len(source.requests) < 20


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('attachment; filename="a b.txt"', "a b.txt"),
        ("attachment; filename=a.txt", "a.txt"),
        ("attachment; filename=a.txt; filename*=UTF-8''%c3%a9.txt", "\u00e9.txt"),
        ("attachment; filename*=utf-8'fr'%c3%a9%22.txt; filename=a.txt", '\u00e9".txt'),
        ("attachment; filename*=iso-8859-1''%e9.txt", "\u00e9.txt"),
        ("attachment; filename*=UTF-8''%ff.txt; filename=a.txt", "a.txt"),
        ('attachment; filename="a\\"b.txt"', 'a"b.txt'),
        ('attachment; FileName = "../../x"', "../../x"),
        ("attachment; filename=\u00c3\u00a9.txt", "\u00e9.txt"),
        ('attachment; filename=""', None),
        ("inline", None),
        ("", None),
    ],
)
def test_name_of_a_file_is_read_as_the_source_means_it(text: str, name: str | None) -> None:
    assert file_name({"content-disposition": text}) == name


def test_answer_may_be_left_in_its_middle_and_closed_twice(
    source: FaultySource, outbound: MakeOutbound
) -> None:
    source.routes["/a"] = serving(b"x" * 10_000_000)
    client = outbound(source.url())

    answer = client.get(Request(url=source.url("/a")))
    assert next(iter(answer))
    answer.close()
    answer.close()

    assert len(content(client, source.url("/a"))) == 10_000_000
    assert len(source.connections) == 2


def test_transport_that_is_not_installed_is_done_without_or_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("httptools", "httpcore2"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("direct", "messages", "layered"):
        monkeypatch.delitem(sys.modules, f"meteorpi_server.outbound.{name}", raising=False)

    assert transport_called("auto") is PooledTransport
    with pytest.raises(ConfigurationError, match=r"meteorpi\[archive\]"):
        transport_called("httpx-like")
