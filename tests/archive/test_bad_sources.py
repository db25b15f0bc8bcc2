"""Every way in which a source can go wrong, for each policy, over each transport: report and bytes."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import requests

from meteorpi_db.testing.processes import wait_until
from meteorpi_server.archiving.entries import Entry, Form
from meteorpi_server.archiving.failures import CutShortError, Reason
from meteorpi_server.archiving.plan import OnError, Plan
from meteorpi_server.archiving.prefetch import Prefetcher, wanted_of
from meteorpi_server.archiving.remote import Patience, RemoteSource
from meteorpi_server.archiving.reports import EntryFailed, EntrySent
from meteorpi_server.archiving.sending import send
from meteorpi_server.archiving.sources import Chunks, Source
from meteorpi_server.outbound import AddressPolicy, AllowedSources, Outbound, Timeouts
from meteorpi_server.outbound.choosing import TRANSPORTS, MakeTransport
from tests.archive.conftest import ArchiveNode
from tests.archive.faulty_source import MISBEHAVIOURS, Behaviour, Exchange, FaultySource, serving, short

pytestmark = [
    pytest.mark.engines("sqlite"),
    pytest.mark.contract("archive-6.5", "archive-3.14/transports"),
]

GOOD = {"/a": b"first" * 100, "/c": b"last" * 100}
QUICK = Timeouts(connect=60, first_byte=0.3, idle=0.3, total=600)
PATIENT = Timeouts(connect=60, first_byte=60, idle=60, total=600)
SECONDS = 60.0
SIZE = 10
"""Bytes that every bad source was planned to have."""


def chunked(body: bytes) -> Behaviour:
    """A content that does not say how long it is."""

    def behave(exchange: Exchange) -> None:
        exchange.head(Transfer_Encoding="chunked")
        exchange.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    return behave


class Fault(NamedTuple):
    """What a bad source comes to.

    Attributes:
        kept: bytes of its content that came before it went wrong; None where it fails before its first byte.
    """

    reason: Reason
    kept: bytes | None = None


FAULTS = {
    "/short": Fault(Reason.SHORT, b"hello"),
    "/cut-chunks": Fault(Reason.SHORT, b"hello"),
    "/reset": Fault(Reason.LONG),  # it announces another length
    "/refuses": Fault(Reason.SHORT),
    "/silent": Fault(Reason.TIMEOUT),
    "/silent-midway": Fault(Reason.TIMEOUT, b"hello"),
    "/dripping-head": Fault(Reason.TIMEOUT),
    "/nowhere": Fault(Reason.MISSING),
    "/broken": Fault(Reason.STATUS),
    "/loop": Fault(Reason.STATUS),
    "/to-private": Fault(Reason.REFUSED),
    "/no-gzip": Fault(Reason.UNREADABLE),
    "/bomb": Fault(Reason.LONG, b"\0" * SIZE),
    "/longer": Fault(Reason.LONG),
    "/longer-unannounced": Fault(Reason.LONG, b"0123456789"),
    "/shorter": Fault(Reason.SHORT),
    "/shorter-unannounced": Fault(Reason.SHORT, b"0123"),
    "/other": Fault(Reason.CHANGED),
    "http://moved.example/": Fault(Reason.REFUSED),
    "http://nobody.example/": Fault(Reason.UNREADABLE),
}
NAMES = {"moved.example": ["10.0.0.1"]}


@pytest.fixture
def server() -> Iterator[FaultySource]:
    routes = dict(MISBEHAVIOURS) | {path: serving(body) for path, body in GOOD.items()}
    routes |= {
        "/longer": serving(b"0123456789a"),
        "/longer-unannounced": chunked(b"0123456789a"),
        "/shorter": serving(b"0123"),
        "/shorter-unannounced": chunked(b"0123"),
        "/other": serving(b"0123456789", ETag='"v2"'),
    }
    with FaultySource(routes) as found:
        yield found


class OneBad(Source):
    """Gives up the entry called ``bad`` when that is due, and waits for the others as long as it takes."""

    def __init__(self, hasty: Outbound, patient: Outbound) -> None:
        self._hasty, self._patient = (
            RemoteSource(outbound, Patience(retries=0)) for outbound in (hasty, patient)
        )

    def open(self, entry: Entry, start: int, stop: int | None) -> Chunks:
        return (self._hasty if entry.name == "bad" else self._patient).open(entry, start, stop)

    def check(self, entry: Entry) -> None:
        raise NotImplementedError


class Received:
    """What a reader got of a good source, a bad one, and another good one."""

    def __init__(self, server: FaultySource, transport: MakeTransport, path: str, on_error: OnError) -> None:
        def resolve(host: str) -> list[str]:
            if host not in NAMES:
                raise OSError(host)
            return NAMES[host]

        policy = AddressPolicy(AllowedSources.parse([server.url()]), resolve)
        form = Form.BLOCKS if on_error is OnError.ABORT else Form.STREAMED
        bad = path if "://" in path else server.url(path)
        entries = [
            entry_of(server.url("/a"), "a", len(GOOD["/a"]), form),
            entry_of(bad, "bad", SIZE, form, etag='"v1"' if path == "/other" else None),
            entry_of(server.url("/c"), "c", len(GOOD["/c"]), form),
        ]
        plan = Plan(tuple(entries), on_error=on_error)
        self.bytes = b""
        self.events: list[EntrySent | EntryFailed] = []
        self.error: CutShortError | None = None
        limits = QUICK if FAULTS[path].reason is Reason.TIMEOUT else PATIENT
        with (
            closing(Outbound(transport(limits), policy, timeouts=limits)) as hasty,
            closing(Outbound(transport(PATIENT), policy, timeouts=PATIENT)) as patient,
            Prefetcher(OneBad(hasty, patient), wanted_of(plan)) as ahead,
        ):
            try:
                for chunk in send(plan, {"url": ahead}, report=self.events.append):
                    self.bytes += chunk
            except CutShortError as error:
                self.error = error

    def entries(self) -> dict[str, bytes]:
        with zipfile.ZipFile(io.BytesIO(self.bytes)) as found:
            assert found.testzip() is None
            return {each.filename: found.read(each) for each in found.infolist()}

    @property
    def failure(self) -> EntryFailed:
        (found,) = (each for each in self.events if isinstance(each, EntryFailed))
        return found


def entry_of(url: str, name: str, size: int, form: Form, etag: str | None = None) -> Entry:
    details = {} if etag is None else {"etag": etag}
    return Entry(
        name=name, kind="url", reference=url, size=size, crc=None, mtime=0, form=form, details=details
    )


@pytest.mark.parametrize("path", FAULTS)
def test_archive_that_aborts_is_cut_at_the_bad_source(
    server: FaultySource, transport: MakeTransport, path: str
) -> None:
    received = Received(server, transport, path, OnError.ABORT)

    assert received.error is not None
    assert (received.error.index, received.error.reason) == (1, FAULTS[path].reason)
    assert GOOD["/a"] in received.bytes
    assert GOOD["/c"] not in received.bytes
    with pytest.raises(zipfile.BadZipFile):
        received.entries()


@pytest.mark.parametrize("path", FAULTS)
def test_archive_that_skips_leaves_out_what_did_not_begin_and_is_cut_otherwise(
    server: FaultySource, transport: MakeTransport, path: str
) -> None:
    received = Received(server, transport, path, OnError.SKIP)

    assert received.failure.reason is FAULTS[path].reason
    if FAULTS[path].kept is not None:
        assert received.error is not None
        return
    found = received.entries()
    (listed,) = json.loads(found.pop("_ERRORS.json"))["errors"]
    assert found == {"a": GOOD["/a"], "c": GOOD["/c"]}
    assert (listed["index"], listed["name"], listed["bytes"]) == (1, "bad", 0)
    assert listed["reason"] == FAULTS[path].reason.value


@pytest.mark.parametrize("path", FAULTS)
def test_archive_in_parts_keeps_what_came_and_lists_it(
    server: FaultySource, transport: MakeTransport, path: str
) -> None:
    kept = FAULTS[path].kept

    received = Received(server, transport, path, OnError.PARTIAL)

    found = received.entries()
    (listed,) = json.loads(found.pop("_ERRORS.json"))["errors"]
    short = found.pop("bad", None)
    assert found == {"a": GOOD["/a"], "c": GOOD["/c"]}
    assert (short is None) == (kept is None)
    assert (kept or b"").startswith(short or b"")
    assert (listed["bytes"], listed["expected_bytes"]) == (len(short or b""), SIZE)
    assert (listed["index"], listed["reason"]) == (1, FAULTS[path].reason.value)


def test_content_of_another_checksum_than_planned_is_never_whole(
    server: FaultySource, transport: MakeTransport
) -> None:
    good, other = (entry_of(server.url(path), path[1:], len(GOOD[path]), Form.BLOCKS) for path in GOOD)
    plan = Plan((good, replace(other, form=Form.STORED, crc=1)))
    sent: list[bytes] = []

    policy = AddressPolicy(AllowedSources.parse([server.url()]))
    with closing(Outbound(transport(PATIENT), policy)) as outbound, pytest.raises(CutShortError) as cut:
        sent.extend(send(plan, {"url": RemoteSource(outbound, Patience(retries=0))}))

    assert cut.value.reason is Reason.WRONG_DIGEST
    assert GOOD["/c"] not in b"".join(sent)


@pytest.mark.contract("archive-3.12/policies")
@pytest.mark.parametrize("on_error", list(OnError))
@pytest.mark.parametrize("transport_name", TRANSPORTS)
def test_failure_is_in_the_state_of_the_ticket(
    server: FaultySource,
    make_archive_node: Callable[..., ArchiveNode],
    serve: Callable[[ArchiveNode], str],
    transport_name: str,
    on_error: OnError,
) -> None:
    node = make_archive_node(allowed_sources=[server.url()], retries=0, transport=transport_name)
    server.routes["/bad"] = serving(bytes(700_000))
    items = [server.url(path) for path in ("/a", "/bad", "/c")]
    made = node.ticket(items, node.client("catalogue", "url"), on_error=on_error.value)
    server.routes["/bad"] = short(bytes(600_000), 700_000)

    with requests.get(serve(node) + made["href"], stream=True, timeout=SECONDS) as answer:
        status, is_cut = answer.status_code, was_cut(answer)

    def state() -> Any:
        return node.get(made["status_href"]).json

    wait_until(lambda: state()["errors"], SECONDS, "the note of the failure")
    (error,) = state()["errors"]
    assert (status, is_cut) == (200, on_error is not OnError.PARTIAL)
    assert made["sized"] == (on_error is OnError.ABORT)
    assert (error["index"], error["name"], error["reason"]) == (1, "bad", "short")
    assert 0 <= error["bytes"] <= 600_000
    assert (error["bytes"] > 0) == (on_error is OnError.PARTIAL)


def was_cut(answer: requests.Response) -> bool:
    try:
        return not answer.content
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        return True
