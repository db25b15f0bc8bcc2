"""The metrics of blocks: names as they were published before, and what has been added.

Those of the first part have the names of the server that these routes replace, the misspelt one among them;
whoever has dashboards of it keeps them.

Source: A.12, K-171 and K-204 of the storage contract.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from meteorpi_db.blocks.totals import BlockTotals
from meteorpi_db.filestore import measured
from meteorpi_server import problems
from meteorpi_server.block_accounts.figures import Counted
from meteorpi_server.block_api.transfers import Transfers
from meteorpi_server.block_events import CountedEvents
from meteorpi_server.block_events.figures import DURATION_SECONDS
from meteorpi_server.figures import COUNTER, GAUGE, HISTOGRAM, SUMMARY, Figures, Metric, Reading
from meteorpi_server.metrics import Family, Memo, Sample
from meteorpi_server.tallies import Tally

IN_PROGRESS: Final = Metric("block_in_progress_requests", GAUGE, "Requests for objects that are running.")
RESPONSE_TIME: Final = Metric("block_response_time", HISTOGRAM, "Seconds for each request for an object.")
WAIT_FOR_AUTH: Final = Metric("block_wait_for_auth", HISTOGRAM, "Seconds for each call of accounting.")
WAITS: Final = {
    kind: Metric(
        f"block_wait_for_transfer_{kind}", HISTOGRAM, f"Seconds of the file store to {verb}.", ("backend",)
    )
    for kind, verb in (
        (measured.STORE, "take a content in"),
        (measured.RETRIEVE, "give a content"),
        (measured.META, "tell of a content"),
        (measured.DELETE, "remove a content"),
    )
}
S3_REQUESTS: Final = Metric("block_s3_requests", SUMMARY, "Operations of a file store on S3, in seconds.")
ACCESS_DENIED: Final = Metric("block_access_denied", COUNTER, "Errors answered, by their code.", ("reason",))
TOO_LARGE: Final = Metric("content_length_error", COUNTER, "Uploads refused or cut off as too large.")
CACHE_HITS: Final = Metric("block_auth_cache_hits", COUNTER, "Questions that the account cache answered.")
CACHE_SETS: Final = Metric("block_auth_cache_sets", COUNTER, "Answers put into the account cache.")
SENT: Final = Metric("block_traffic_response", COUNTER, "Bytes of objects sent.")
RECEIVED: Final = Metric("block_traffic_request", COUNTER, "Bytes of objects received.")
SENT_BY_REQUEST: Final = Metric("block_traffic_by_request", SUMMARY, "Bytes of each download.")
QUOTA: Final = Metric("block_quota_by_request", SUMMARY, "Bytes by which requests changed usage.", ("type",))
WAIT_FOR_DATABASE: Final = Metric(
    "block_wait_database_connections", COUNTER, "Seconds waited for connections to the database."
)
SOCKETS: Final = Metric("websocket_connections", GAUGE, "WebSockets that are open.")
SOCKET_TIMES: Final = [
    Metric(name, HISTOGRAM, "Seconds that each WebSocket was open.", bounds=DURATION_SECONDS)
    for name in ("weboscket_connection_duration", "websocket_connection_duration")
]
MESSAGES: Final = Metric("websocket_messages", COUNTER, "Events told to those who listen.")
PUBLISHED: Final = Metric("pubsub_published", COUNTER, "Changes that those who listen were woken for.")
BROKERS: Final = Metric("pubsub_connections", GAUGE, "Connections to the event broker.")

STREAMS: Final = Metric("block_event_streams", GAUGE, "Streams of events that are open.")
DROPPED: Final = Metric("block_listeners_dropped", COUNTER, "Those who listened, and were too slow.")
CACHE_FAILURES: Final = Metric("block_auth_cache_failures", COUNTER, "Times the account cache did not work.")
AUTH_FAILURES: Final = Metric("block_accounting_failures", COUNTER, "Calls of accounting that failed.")
STALE: Final = Metric("block_stale_account_answers", COUNTER, "Questions that an outdated answer helped out.")
SWEPT: Final = Metric("block_swept", COUNTER, "What was cleared away by the upkeep.", ("kind",))
TURNS: Final = Metric("block_transfers_in_use", GAUGE, "Turns at the file store in use.", ("share",))
QUEUE: Final = Metric("block_transfers_waiting", GAUGE, "Transfers that wait for a turn.", ("share",))
QUEUE_WAITS: Final = Metric("block_transfer_waits", COUNTER, "Turns that were waited for.", ("share",))
QUEUE_SECONDS: Final = Metric(
    "block_transfer_wait_seconds", COUNTER, "Seconds that turns were waited for.", ("share",)
)
POOL: Final = Metric("block_database_connections_in_use", GAUGE, "Connections to the database in use.")

METRICS: Final = (
    *(IN_PROGRESS, RESPONSE_TIME, WAIT_FOR_AUTH, *WAITS.values(), S3_REQUESTS, ACCESS_DENIED, TOO_LARGE),
    *(CACHE_HITS, CACHE_SETS, SENT, RECEIVED, SENT_BY_REQUEST, QUOTA, WAIT_FOR_DATABASE),
    *(SOCKETS, *SOCKET_TIMES, MESSAGES, PUBLISHED, BROKERS, STREAMS, DROPPED),
    *(CACHE_FAILURES, AUTH_FAILURES, STALE, SWEPT, TURNS, QUEUE, QUEUE_WAITS, QUEUE_SECONDS, POOL),
)
"""Those that processes count; see :func:`families_of` for those that the database knows."""


class BlockMetrics:
    """Counts what the block routes do.

    Args:
        tally: where sums are.
        backend: what the file store is called.

    Attributes:
        figures: all of them.
        memo: what is costly to get.
    """

    def __init__(self, tally: Tally, backend: str) -> None:
        self.figures = Figures(METRICS, tally)
        self.memo = Memo()
        self._backend = backend
        self._reasons = frozenset(problems.all_codes())

    def operation(self, kind: str, seconds: float) -> None:
        """See :class:`meteorpi_db.filestore.measured.StoreObserver`."""
        self.figures.observe(WAITS[kind], seconds, (self._backend,))
        if self._backend == "s3":
            self.figures.observe(S3_REQUESTS, seconds)

    def received(self, size: int) -> None:
        """See :class:`meteorpi_db.filestore.measured.StoreObserver`."""
        self.figures.count(RECEIVED, size)

    def began(self) -> None:
        """Count a request for an object as running."""
        self.figures.count(IN_PROGRESS)

    def ended(self, seconds: float) -> None:
        """Count a request for an object as done, its answer sent or given up."""
        self.figures.count(IN_PROGRESS, -1)
        self.figures.observe(RESPONSE_TIME, seconds)

    def sent(self, size: int) -> None:
        """Count a download of so many bytes."""
        self.figures.count(SENT, size)
        self.figures.observe(SENT_BY_REQUEST, size)

    def refused(self, code: str) -> None:
        """Count an error that was answered."""
        self.figures.count(ACCESS_DENIED, labels=(code if code in self._reasons else "internal",))
        if code == "too-large":
            self.figures.count(TOO_LARGE)

    def usage_changed(self, change: int) -> None:
        """Count by how many bytes a request has changed what an account uses."""
        if change:
            self.figures.observe(QUOTA, abs(change), ("increase" if change > 0 else "decrease",))

    def swept(self, kind: str, count: int) -> None:
        """Count what was cleared away."""
        if count:
            self.figures.count(SWEPT, count, (kind,))


def readings_of_accounts(counted: Counted) -> Iterator[Reading]:
    """What was counted of an accounting server."""
    yield Reading(WAIT_FOR_AUTH, counted.call_seconds, counted.call_buckets)
    yield Reading(CACHE_HITS, counted.hits)
    yield Reading(CACHE_SETS, counted.sets)
    yield Reading(CACHE_FAILURES, counted.cache_failures)
    yield Reading(AUTH_FAILURES, counted.failures)
    yield Reading(STALE, counted.stale)


def readings_of_events(counted: CountedEvents, connections: int) -> Iterator[Reading]:
    """What was counted of events and of those who listen; `connections` are those to the broker."""
    yield Reading(SOCKETS, counted.open_sockets)
    for metric in SOCKET_TIMES:
        yield Reading(metric, counted.open_seconds, counted.duration_buckets)
    yield Reading(MESSAGES, counted.messages)
    yield Reading(PUBLISHED, counted.published)
    yield Reading(BROKERS, connections)
    yield Reading(STREAMS, counted.open_streams)
    yield Reading(DROPPED, counted.dropped)


def readings_of_transfers(transfers: Transfers) -> Iterator[Reading]:
    """How turns at the file store are used."""
    for share, turns in (("read", transfers.reads), ("write", transfers.writes)):
        found = turns.figures()
        yield Reading(TURNS, found.in_use, labels=(share,))
        yield Reading(QUEUE, found.waiting, labels=(share,))
        yield Reading(QUEUE_WAITS, found.waits, labels=(share,))
        yield Reading(QUEUE_SECONDS, found.waited_seconds, labels=(share,))


def readings_of_database(waited_seconds: float, in_use: int) -> Iterator[Reading]:
    """How connections to the database are used."""
    yield Reading(WAIT_FOR_DATABASE, waited_seconds)
    yield Reading(POOL, in_use)


def families_of(totals: BlockTotals) -> Iterator[Family]:
    """What the database knows, the same in every process."""
    for name, help_text, value in (
        ("block_accounts", "Accounts that have prefixes.", totals.accounts),
        ("block_prefixes", "Prefixes.", totals.prefixes),
        ("block_stored_objects", "Objects.", totals.objects),
        ("block_stored_bytes", "Bytes of all objects.", totals.used_bytes),
        ("block_held_bytes", "Bytes of contents, those that wait to be removed included.", totals.held_bytes),
        ("block_released_contents", "Contents that wait to be removed.", totals.released),
        ("block_damaged_contents", "Contents that verification found damaged.", totals.damaged),
        ("block_unverified_contents", "Contents that were never verified.", totals.unverified),
        ("block_open_uploads", "Resumable uploads that are not finished.", totals.open_uploads),
    ):
        yield Family(name, GAUGE, help_text, [({}, value)])
    oldest: list[Sample] = [] if totals.verified_at is None else [({}, totals.verified_at / 1000)]
    help_text = "When the content was verified that was not for longest, Unix time."
    yield Family("block_oldest_verification_timestamp_seconds", GAUGE, help_text, oldest)
