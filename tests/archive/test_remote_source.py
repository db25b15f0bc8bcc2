"""Contents of archives that other servers hold: tried again, continued, opened ahead, and never wrong."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from io import BytesIO
from itertools import pairwise

import pytest

from meteorpi_db.testing.processes import wait_until
from meteorpi_server.archiving.entries import Entry, Form
from meteorpi_server.archiving.failures import CutShortError, Reason, SourceFailedError
from meteorpi_server.archiving.plan import Plan
from meteorpi_server.archiving.prefetch import Prefetcher, Wanted, wanted_of
from meteorpi_server.archiving.remote import Patience, RemoteSource
from meteorpi_server.archiving.sending import send
from meteorpi_server.archiving.sources import Chunks, Source
from meteorpi_server.outbound import AddressPolicy, AllowedSources, Outbound, Timeouts
from meteorpi_server.outbound.choosing import MakeTransport
from tests.archive.faulty_source import MISBEHAVIOURS, Exchange, FaultySource, gzipped, serving

BODY = bytes(range(256)) * 4000
WAIT_SECONDS = 30.0


@pytest.fixture
def server() -> Iterator[FaultySource]:
    with FaultySource(dict(MISBEHAVIOURS)) as found:
        yield found


@pytest.fixture
def waits() -> list[float]:
    """How long a source was waited for before it was asked again; nobody waits for long."""
    return []


@pytest.fixture
def outbounds(server: FaultySource, transport: MakeTransport) -> Iterator[Callable[[float], Outbound]]:
    """Makes clients that wait so many seconds for a byte, over each transport, and closes them."""
    with ExitStack() as stack:

        def make(seconds: float) -> Outbound:
            timeouts = Timeouts(connect=30, first_byte=seconds, idle=seconds, total=600)
            policy = AddressPolicy(AllowedSources.parse([server.url()]))
            made = transport(timeouts, ca_file=None)
            return stack.enter_context(closing(Outbound(made, policy, timeouts=timeouts)))

        yield make


@pytest.fixture
def source(outbounds: Callable[[float], Outbound], waits: list[float]) -> RemoteSource:
    return RemoteSource(outbounds(60), Patience(wait=waits.append))


@pytest.fixture
def hasty(outbounds: Callable[[float], Outbound], waits: list[float]) -> RemoteSource:
    """Gives a silent source up soon."""
    return RemoteSource(outbounds(0.4), Patience(retries=1, wait=waits.append))


def entry(url: str, size: int | None = None, **details: object) -> Entry:
    form = Form.STREAMED if size is None else Form.BLOCKS
    name = url.rpartition("/")[2] or "x"
    return Entry(
        name=name, kind="url", reference=url, size=size, crc=None, mtime=0, form=form, details=details
    )


def read(source: Source, wanted: Entry, start: int = 0, stop: int | None = None) -> bytes:
    with closing(source.open(wanted, start, stop)) as chunks:
        return b"".join(chunks)


def failing(source: Source, wanted: Entry, start: int = 0, stop: int | None = None) -> SourceFailedError:
    with pytest.raises(SourceFailedError) as failed:
        read(source, wanted, start, stop)
    return failed.value


class Breaking:
    """Serves `body`, but breaks off the first `times` answers, each after `sent` bytes of content."""

    def __init__(self, body: bytes, times: int, sent: int, etag: str | None = '"v1"') -> None:
        self.body, self.left, self.sent, self.etag = body, times, sent, etag

    def __call__(self, exchange: Exchange) -> None:
        if self.left == 0:
            return exchange.file(self.body, self.etag)
        self.left -= 1
        span = exchange.headers.get("range", "bytes=0-")
        start = int(span.removeprefix("bytes=").partition("-")[0])
        fields = {"ETag": self.etag} if self.etag else {}
        if start:
            total = len(self.body)
            exchange.head(
                "206 Partial Content", Content_Length=total - start,
                Content_Range=f"bytes {start}-{total - 1}/{total}", **fields,
            )  # fmt: skip
        else:
            exchange.head(Content_Length=len(self.body), **fields)
        exchange.send(self.body[start : start + self.sent])
        return None


@pytest.mark.contract("archive-3.12/retries", "archive-fpx/failing-source", "archive-fpx/transports")
def test_source_that_breaks_off_is_continued_where_it_broke_off(
    server: FaultySource, source: RemoteSource, waits: list[float]
) -> None:
    server.routes["/a"] = Breaking(BODY, times=3, sent=100_000)

    assert read(source, entry(server.url("/a"), len(BODY)), 0, len(BODY)) == BODY

    asked = [exchange.headers for exchange in server.requests]
    assert [headers.get("range") for headers in asked] == [
        None, "bytes=100000-", "bytes=200000-", "bytes=300000-"
    ]  # fmt: skip
    assert [headers.get("if-range") for headers in asked] == [None, '"v1"', '"v1"', '"v1"']
    assert all(later >= earlier for earlier, later in pairwise(waits))
    assert len(waits) == 3


@pytest.mark.contract("archive-3.12/retries")
def test_source_is_given_up_after_three_repetitions(
    server: FaultySource, source: RemoteSource, waits: list[float]
) -> None:
    server.routes["/a"] = Breaking(BODY, times=9, sent=1000)

    error = failing(source, entry(server.url("/a"), len(BODY)))

    assert (error.reason, error.retry) == (Reason.SHORT, False)
    assert len(server.requests) == 4
    assert len(waits) == 3


@pytest.mark.contract("archive-3.12/retries", "archive-defect-1")
@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
def test_source_without_a_strong_validator_is_not_continued(
    server: FaultySource, source: RemoteSource, etag: str | None
) -> None:
    server.routes["/a"] = Breaking(BODY, times=1, sent=1000, etag=etag)

    assert failing(source, entry(server.url("/a"))).reason is Reason.SHORT
    assert len(server.asked("/a")) == 1


@pytest.mark.contract("archive-3.12/retries")
def test_source_of_which_nothing_was_given_is_begun_again(server: FaultySource, source: RemoteSource) -> None:
    server.routes["/a"] = Breaking(BODY, times=2, sent=0, etag=None)

    assert read(source, entry(server.url("/a"))) == BODY


@pytest.mark.contract("archive-3.12/retries", "archive-defect-1")
def test_source_that_changed_meanwhile_is_not_continued(server: FaultySource, source: RemoteSource) -> None:
    first = Breaking(BODY, times=1, sent=1000)

    def behave(exchange: Exchange) -> None:
        if first.left:
            first(exchange)
        else:
            exchange.file(bytes(len(BODY)), '"v2"')

    server.routes["/a"] = behave

    assert failing(source, entry(server.url("/a"))).reason is Reason.CHANGED


@pytest.mark.contract("archive-3.12/retries")
@pytest.mark.parametrize(
    ("status", "count"), [("503 Later", 4), ("429 Too Many", 4), ("404 No", 1), ("401 No", 1)]
)
def test_status_that_will_not_change_is_not_tried_again(
    server: FaultySource, source: RemoteSource, status: str, count: int
) -> None:
    server.routes["/a"] = lambda exchange: exchange.whole(b"", status)

    failing(source, entry(server.url("/a")))

    assert len(server.requests) == count


@pytest.mark.contract("archive-defect-1", "archive-fpx/failing-source", "archive-fpx/transports")
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/short", Reason.SHORT),
        ("/cut-chunks", Reason.SHORT),
        ("/reset", Reason.SHORT),
        ("/refuses", Reason.SHORT),
        ("/silent", Reason.TIMEOUT),
        ("/bomb", Reason.UNREADABLE),
        ("/gone", Reason.MISSING),
        ("/broken", Reason.STATUS),
        ("/loop", Reason.STATUS),
        ("/to-private", Reason.REFUSED),
        ("/part-unasked", Reason.STATUS),
    ],
)
def test_source_that_misbehaves_says_why(
    server: FaultySource, source: RemoteSource, hasty: RemoteSource, path: str, reason: Reason
) -> None:
    asked = hasty if reason is Reason.TIMEOUT else source

    assert failing(asked, entry(server.url(path))).reason is reason


@pytest.mark.parametrize(("planned", "reason"), [(6, Reason.LONG), (8, Reason.SHORT)])
def test_source_of_another_length_than_planned_gives_nothing(
    server: FaultySource, source: RemoteSource, planned: int, reason: Reason
) -> None:
    server.routes["/a"] = serving(b"content")
    wanted = entry(server.url("/a"), planned)

    assert failing(source, wanted, 0, planned).reason is reason
    with pytest.raises(SourceFailedError):
        source.check(wanted)


def test_source_is_still_there_or_not(server: FaultySource, source: RemoteSource) -> None:
    server.routes["/a"] = serving(b"content", ETag='"v1"')

    source.check(entry(server.url("/a"), 7, etag='"v1"'))
    for wanted, reason in (
        (entry(server.url("/a"), 7, etag='"v0"'), Reason.CHANGED),
        (entry(server.url("/none"), 7), Reason.MISSING),
    ):
        with pytest.raises(SourceFailedError) as failed:
            source.check(wanted)
        assert failed.value.reason is reason


def test_content_other_than_planned_is_refused(server: FaultySource, source: RemoteSource) -> None:
    server.routes["/a"] = serving(b"content", ETag='"v2"')

    assert failing(source, entry(server.url("/a"), 7, etag='"v1"')).reason is Reason.CHANGED


@pytest.mark.contract("archive-4.5")
def test_part_is_read_without_the_bytes_around_it(server: FaultySource, source: RemoteSource) -> None:
    server.routes["/a"] = lambda exchange: exchange.file(BODY)
    wanted = entry(server.url("/a"), len(BODY), etag='"v1"')

    assert read(source, wanted, 1000, 1010) == BODY[1000:1010]
    assert read(source, wanted, 1000, len(BODY)) == BODY[1000:]
    assert read(source, wanted, 0, 10) == BODY[:10]

    assert [asked.headers["range"] for asked in server.requests] == [
        "bytes=1000-1009", "bytes=1000-", "bytes=0-9"
    ]  # fmt: skip


def test_part_of_a_content_that_may_have_changed_is_not_given(
    server: FaultySource, source: RemoteSource
) -> None:
    server.routes["/a"] = lambda exchange: exchange.file(BODY)

    assert failing(source, entry(server.url("/a"), len(BODY)), 1000, 1010).reason is Reason.CHANGED
    assert server.requests == []


@pytest.mark.contract("archive-3.14/headers")
def test_headers_of_an_entry_are_sent_along(server: FaultySource, source: RemoteSource) -> None:
    server.routes["/a"] = serving(b"content")

    read(source, entry(server.url("/a"), headers={"Authorization": "token"}))

    assert server.requests[0].headers["authorization"] == "token"


def test_coded_content_is_decoded(server: FaultySource, source: RemoteSource) -> None:
    server.routes["/a"] = gzipped(BODY)

    assert read(source, entry(server.url("/a"))) == BODY


def test_content_that_another_thread_waits_for_can_be_closed(
    server: FaultySource, source: RemoteSource
) -> None:
    chunks = source.open(entry(server.url("/silent-midway")), 0, None)
    first = next(chunks)
    reader = threading.Thread(target=lambda: list(chunks))
    reader.start()

    chunks.close()
    reader.join(WAIT_SECONDS)

    assert first == b"hello"
    assert not reader.is_alive()


@pytest.mark.contract("archive-3.12/after", "archive-defect-1")
@pytest.mark.parametrize("path", ["/short", "/cut-chunks", "/reset", "/silent-midway"])
def test_archive_is_cut_when_a_source_breaks_off(
    server: FaultySource, hasty: RemoteSource, path: str
) -> None:
    server.routes["/a"] = serving(b"content")
    plan = Plan((entry(server.url("/a")), entry(server.url(path))))
    sent: list[bytes] = []

    with pytest.raises(CutShortError) as cut:
        sent.extend(send(plan, {"url": hasty}))

    assert cut.value.index == 1
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(BytesIO(b"".join(sent)))


class Gate(Source):
    """Notes what is opened and closed; contents named ``slow`` wait for `is_open`."""

    def __init__(self, chunks: int = 1) -> None:
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.given: list[str] = []
        self.chunks = chunks
        self.is_open = threading.Event()

    def open(self, wanted: Entry, start: int, stop: int | None) -> Chunks:
        self.opened.append(wanted.name)
        if wanted.name.startswith("slow") and not self.is_open.wait(WAIT_SECONDS):
            raise AssertionError(wanted.name)
        if wanted.name.startswith("bad"):
            raise SourceFailedError("bad", reason=Reason.STATUS)
        return Counted(self, wanted.name)

    def check(self, wanted: Entry) -> None:
        """Everything is there."""


class Counted(Iterator[bytes]):
    def __init__(self, gate: Gate, name: str) -> None:
        self.gate, self.name, self.left = gate, name, gate.chunks

    def __next__(self) -> bytes:
        if self.left == 0:
            raise StopIteration
        self.left -= 1
        self.gate.given.append(self.name)
        return self.name.encode()

    def close(self) -> None:
        self.gate.closed.append(self.name)


def wanted(*names: str) -> list[Wanted]:
    return [Wanted(entry(f"http://source.example/{name}"), 0, None) for name in names]


@pytest.mark.contract("archive-3.14/prefetch", "archive-defect-18", "archive-3.8/flow", "archive-P6")
def test_four_sources_are_opened_ahead_after_the_first_byte() -> None:
    gate = Gate()
    contents = wanted(*"abcdefgh")
    with Prefetcher(gate, contents) as ahead:
        first = ahead.open(*contents[0])
        assert next(first) == b"a"
        assert gate.opened == ["a"]

        assert next(first, None) is None
        wait_until(lambda: len(gate.opened) == 5, WAIT_SECONDS, "opening of four more")
        assert sorted(gate.opened) == list("abcde")

        assert b"".join(ahead.open(*contents[1])) == b"b"
        wait_until(lambda: len(gate.opened) == 6, WAIT_SECONDS, "opening of one more")


@pytest.mark.contract("archive-3.14/prefetch", "archive-P6")
def test_source_that_is_waited_for_does_not_count_among_those_opened_ahead() -> None:
    gate = Gate()
    contents = wanted("a", *(f"slow-{number}" for number in range(9)))
    with Prefetcher(gate, contents) as ahead:
        assert list(ahead.open(*contents[0])) == [b"a"]
        reader = threading.Thread(target=lambda: list(ahead.open(*contents[1])))
        reader.start()
        wait_until(lambda: len(gate.opened) == 6, WAIT_SECONDS, "opening of one and four more")
        gate.is_open.set()
        reader.join(WAIT_SECONDS)
    assert not reader.is_alive()


@pytest.mark.contract("archive-3.14/prefetch")
def test_contents_come_in_order_whatever_order_they_were_opened_in() -> None:
    gate = Gate(chunks=3)
    contents = wanted("a", "slow", "b", "bad", "c", "d")
    found = []
    with Prefetcher(gate, contents, count=2) as ahead:
        for each in contents:
            try:
                with closing(ahead.open(*each)) as chunks:
                    found.append(b"".join(chunks))
            except SourceFailedError as error:
                found.append(str(error).encode())
            gate.is_open.set()

    assert found == [b"aaa", b"slow" * 3, b"bbb", b"bad", b"ccc", b"ddd"]
    assert sorted(gate.closed) == ["a", "b", "c", "d", "slow"]


@pytest.mark.contract("archive-3.14/prefetch", "archive-fpx/slow-reader")
def test_no_more_is_held_of_a_source_than_allowed() -> None:
    gate = Gate(chunks=1000)
    contents = wanted("a", "b")
    with Prefetcher(gate, contents, held_bytes=10) as ahead:
        assert b"".join(ahead.open(*contents[0])) == b"a" * 1000
        second = ahead.open(*contents[1])
        wait_until(lambda: gate.given.count("b") == 10, WAIT_SECONDS, "reading ahead")
        assert b"".join(second) == b"b" * 1000


@pytest.mark.contract("archive-3.14/prefetch", "archive-fpx/client-gone")
def test_what_was_opened_ahead_is_closed_when_the_reader_leaves() -> None:
    gate = Gate()
    contents = wanted("a", "b", "c", "slow")
    with Prefetcher(gate, contents) as ahead:
        with closing(ahead.open(*contents[0])) as chunks:
            assert list(chunks) == [b"a"]
        wait_until(lambda: {"b", "c", "slow"} <= set(gate.opened), WAIT_SECONDS, "opening ahead")
        wait_until(lambda: {"b", "c"} <= set(gate.given), WAIT_SECONDS, "reading ahead")

    assert set(gate.closed) == {"a", "b", "c"}
    gate.is_open.set()
    wait_until(lambda: "slow" in gate.closed, WAIT_SECONDS, "closing of what came late")
    wait_until(
        lambda: not any(thread.name == "prefetch" for thread in threading.enumerate()), WAIT_SECONDS, "end"
    )


def test_content_asked_for_out_of_order_is_opened_then() -> None:
    gate = Gate()
    contents = wanted("a", "b")
    with Prefetcher(gate, contents) as ahead:
        assert b"".join(ahead.open(*contents[1])) == b"b"
        assert b"".join(ahead.open(contents[0].entry, 5, 6)) == b"a"
        assert b"".join(ahead.open(*contents[0])) == b"a"


@pytest.mark.contract("archive-defect-18", "archive-3.14/prefetch", "archive-fpx/transports", "archive-P7")
def test_archive_of_remote_files_is_whole(server: FaultySource, source: RemoteSource) -> None:
    bodies = {f"/{number:03}": bytes([number]) * (number * 997) for number in range(60)}
    server.routes |= {path: serving(body) for path, body in bodies.items()}
    plan = Plan(tuple(entry(server.url(path), len(body)) for path, body in bodies.items()))

    with Prefetcher(source, wanted_of(plan)) as ahead:
        archive = b"".join(send(plan, {"url": ahead}))

    with zipfile.ZipFile(BytesIO(archive)) as opened:
        assert opened.testzip() is None
        assert {f"/{name}": opened.read(name) for name in opened.namelist()} == bodies
    assert len(archive) == plan.total_bytes
    assert len(server.connections) <= 5
    assert len(server.requests) == 60
