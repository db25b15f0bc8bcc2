"""What the block routes of one application share: accounts, terms, and the store."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, cast
from uuid import UUID, uuid4

from flask import Flask, current_app, request

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks import sweeping
from meteorpi_db.blocks.changes import Stored, Terms, Upload
from meteorpi_db.blocks.conditions import Demands
from meteorpi_db.blocks.direct import ADDRESS, DirectUploads
from meteorpi_db.blocks.directory import BlockDirectory, stored_id
from meteorpi_db.blocks.event_log import EventLog
from meteorpi_db.blocks.events import BlockEvent
from meteorpi_db.blocks.numbers import AccountNumbers
from meteorpi_db.blocks.quota import QuotaRule
from meteorpi_db.blocks.register import BlockRegister
from meteorpi_db.blocks.resuming import ResumableUploads
from meteorpi_db.filestore import Digests, FileStore
from meteorpi_db.filestore.measured import MeasuredFileStore, kind_of
from meteorpi_model import utc_datetime_to_milliseconds
from meteorpi_model.errors import ConfigurationError, MeteorError, TrafficReachedError
from meteorpi_server import cors
from meteorpi_server.block_accounts import (
    Account,
    AccountOptions,
    AccountSource,
    Caller,
    Provider,
    open_accounts,
)
from meteorpi_server.block_api import metrics
from meteorpi_server.block_api.leaving import LeavingPrefixes
from meteorpi_server.block_api.metrics import BlockMetrics
from meteorpi_server.block_api.request_notes import note_account
from meteorpi_server.block_api.signed_links import LinkSigner
from meteorpi_server.block_api.slow_reading import SlowReading
from meteorpi_server.block_api.traffic import TrafficMeter
from meteorpi_server.block_api.transfers import Transfers
from meteorpi_server.block_events import EventBroker, EventHub, HubLimits, open_broker
from meteorpi_server.context import current_request_id
from meteorpi_server.metrics import Memo
from meteorpi_server.settings import Settings
from meteorpi_server.stopping import StopRequest
from meteorpi_server.tallies import tally_of_node

logger = logging.getLogger("meteorpi.block.objects")

_EXTENSION: Final = "meteorpi_blocks"


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """The body of an upload.

    Attributes:
        chunks: its bytes; raises when it is cut off.
        size: announced bytes, None when nothing was announced.
        digests: announced digests.
    """

    chunks: Iterable[bytes]
    size: int | None
    digests: Digests


class BlockService:
    """Keeps objects for accounts; safe for threads, opens nothing by itself.

    Attributes:
        settings: of the node.
        register: prefixes and objects.
        accounts: who knows accounts.
        store: where bytes are.
        traffic: counts what is read.
        transfers: turns at the store.
        metrics: what is counted.
        uploads: those that take several requests.
        direct: those that pass this node by.
        links: signs them.
        slow_reading: of accounts of which much was read.
        leaving: prefixes that go with everything below them.
        provider: answers other servers about accounts; None where it does not.
        memo: answers that are costly to get.
        events: those who listen.

    Args:
        db, settings: of the node.
        accounts: who knows accounts; None as the settings say.
        store: where bytes are; None as the settings say. What the node itself does for contents (backups,
            verification) sees those of another store only when the setting `block_store` names it.
    """

    def __init__(
        self,
        db: MeteorDatabase,
        settings: Settings,
        accounts: AccountSource | None = None,
        store: FileStore | None = None,
        events: EventBroker | None = None,
        stop: StopRequest | None = None,
    ) -> None:
        self._db = db
        self.settings = settings
        self.accounts = accounts or open_accounts(_account_options(settings), _directory(db, settings))
        self.store = store or db.stores.blocks
        self.metrics = BlockMetrics(tally_of_node(settings.metrics_dir, db.store), kind_of(self.store))
        self.store = MeasuredFileStore(self.store, self.metrics)
        self.register = BlockRegister(db.transactions, db.clock)
        self.traffic = TrafficMeter(self.register)
        self.transfers = Transfers(settings.block_transfers, settings.block_transfer_wait_seconds)
        self.uploads = ResumableUploads(
            db.transactions,
            self.store,
            db.clock,
            keep_hours=settings.block_upload_keep_hours,
            most_bytes=settings.block_max_body_bytes,
            turn=self.transfers.writes.one,
        )
        self.direct = DirectUploads(
            db.transactions,
            self.store,
            db.clock,
            keep=timedelta(hours=settings.block_upload_keep_hours) + ADDRESS,
            most_bytes=settings.block_max_body_bytes,
            turn=self.transfers.writes.one,
        )
        self.memo = Memo()
        self._log = EventLog(db.transactions, db.clock)
        broker = events or open_broker(settings.block_events, db.transactions)
        self.events = EventHub(self._log, broker, _hub_limits(settings), stop)
        self.links = LinkSigner(settings.block_link_keys, lambda: db.secret_box.derived_key("block links"))
        self.slow_reading = SlowReading(settings.block_traffic_soft_rate)
        self.leaving = LeavingPrefixes(self.register, self.announce_all)
        self.provider = _provider(db, settings, self.accounts)
        self._count_along()
        self._is_in_the_dark = False
        self._rule = QuotaRule(
            growth_bytes=settings.block_metafile_growth_bytes, grace_bytes=settings.block_quota_grace_bytes
        )

    def caller(self) -> Account:
        """The account of the current request; see :meth:`AccountSource.identify` for what it raises."""
        account = self.accounts.identify(self._credentials(), _caller())
        note_account(account_key(account))
        return account

    def _credentials(self) -> str | None:
        found = request.headers.get("Authorization")
        if found is not None and found[:5].lower() == "basic":
            # Browsers add these to what any page asks for; nobody sends other credentials unasked.
            is_socket = request.headers.get("Upgrade", "").lower() == "websocket"
            cors.refuse_foreign_pages(self.settings.cors_origins, is_socket=is_socket)
        return found

    def terms_of(self, account: Account) -> Terms:
        """Under what terms an account changes something."""
        is_owner = not account.may_write_anywhere
        return Terms(
            account_id=account_key(account) if is_owner else None,
            quota=account.quota_bytes if is_owner else None,
            rule=self._rule,
            is_append_only=self.settings.block_append_only,
            retain_days=self.settings.block_retain_days,
            max_objects=self.settings.block_max_objects,
            max_prefixes=self.settings.block_max_prefixes,
            verifies_names=self.settings.block_verify_names == "blocks",
        )

    def upload(self, account: Account, upload: Upload, incoming: Incoming) -> Stored:
        """Take the bytes of an object in.

        What can be refused is refused before the first byte is read. Once the bytes are durable one
        transaction makes them the object; nothing after it can fail.

        Raises:
            NotFoundError, NotAllowedError, PreconditionFailedError, QuotaReachedError: it may not be.
            IncompleteBodyError, DigestMismatchError: it is not what was announced; nothing is changed.
            StoreFullError, UnavailableError: the node cannot.
        """
        terms, content_id = self.terms_of(account), uuid4()
        self.register.announce(upload, incoming.size, terms, content_id)
        try:
            facts = self.transfers.write(
                incoming.chunks,
                lambda chunks: self.store.put(
                    content_id, chunks, size=incoming.size, digests=incoming.digests
                ),
            )
            stored = self.register.store(upload, content_id, facts, terms)
        except BaseException:
            self._give_up(upload, content_id)
            raise
        self.announce(stored.event)
        if not stored.is_content_used:
            self._remove_spare(content_id)
        return stored

    def remove(self, account: Account, prefix: str, path: str, demands: Demands) -> BlockEvent | None:
        """Remove an object; None when there was none. Raises as :meth:`BlockRegister.remove`."""
        event = self.register.remove(prefix, path, demands, self.terms_of(account))
        self.announce(event)
        return event

    def announce(self, event: BlockEvent | None) -> None:
        """Tell those who listen what happened, once its transaction is committed; None is nothing."""
        if event is not None:
            self.metrics.usage_changed(event.change)
            self.events.announce(event.prefix)

    def announce_all(self, events: Sequence[BlockEvent]) -> None:
        """The same for changes below one prefix, of which listeners learn together."""
        for event in events:
            self.metrics.usage_changed(event.change)
        if events:
            self.events.announce(events[-1].prefix)

    def now_seconds(self) -> float:
        """Seconds since 1970."""
        return utc_datetime_to_milliseconds(self._db.clock()) / 1000

    def is_slow(self, account_id: str) -> bool:
        """Whether an account is read slowly from now on; not when nobody can tell what may be read (K-205).

        Raises:
            TrafficReachedError: more was read this month than it may offer, and reading on is not offered.
        """
        allowed = self._traffic_of(account_id)
        sent = self.traffic.sent_by(account_id)
        is_beyond = allowed is not None and sent > allowed
        if is_beyond and not self.slow_reading.is_offered:
            raise TrafficReachedError("Quota reached", quota=allowed, size=sent)
        return is_beyond

    def _traffic_of(self, account_id: str) -> int | None:
        """Bytes that may be read of an account in a month; None when nobody can tell now."""
        source, _, name = account_id.partition(":")
        if source != self.accounts.name:
            return None
        try:
            limits = self.accounts.limits_of(name, _caller())
        except MeteorError as error:
            if not self._is_in_the_dark:
                logger.warning("reads go on without knowing what may be read reason=%s", error)
            self._is_in_the_dark = True
            return None
        self._is_in_the_dark = False
        return limits.monthly_traffic_bytes

    def keep_up(self) -> None:
        """Remove the bytes of what was replaced or removed; forget uploads and events whose time is over."""
        self._log.forget_old()
        database, store, now = self._db.transactions, self.store, self._db.clock()
        self.metrics.swept("contents", sweeping.sweep_released(database, store, now))
        self.metrics.swept("uploads", sweeping.sweep_uploads(database, store, now))
        self.register.forget_passed(self.settings.block_traffic_keep_months)

    def _count_along(self) -> None:
        """Let the metrics have what the parts count for themselves."""
        database, events, follow = self._db.transactions, self.events, self.metrics.figures.follow
        follow(lambda: metrics.readings_of_transfers(self.transfers))
        follow(lambda: metrics.readings_of_database(database.waited_seconds, database.in_use))
        follow(lambda: metrics.readings_of_events(events.figures.counted(), events.broker.connections))
        follow(lambda: metrics.readings_of_accounts(self.accounts.counted()))

    def _remove_spare(self, content_id: UUID) -> None:
        """The same bytes were there; what cannot be removed now is found by whoever looks for orphans."""
        try:
            self.store.delete(content_id)
        except MeteorError as error:
            logger.warning("spare content stays for now content_id=%s reason=%s", content_id.hex, error)

    def _give_up(self, upload: Upload, content_id: UUID) -> None:
        """After an upload that failed; what cannot be undone now lapses, or is swept, later."""
        try:
            if not self.register.give_up(upload, content_id):
                self.store.delete(content_id)
        except MeteorError as error:
            logger.warning("a failed upload is cleared up later reason=%s", error)


def _caller() -> Caller:
    """Who sends the current request."""
    return Caller(address=request.remote_addr, request_id=current_request_id())


def account_key(account: Account) -> str:
    """The name of an account in the register."""
    return stored_id(account.source, account.account_id)


def new_upload_id() -> str:
    """A name for an upload that nobody can guess."""
    return secrets.token_hex(32)


def bind(app: Flask, name: str, service: BlockService) -> None:
    """Make `service` that of the block routes attached to `app` as `name`."""
    app.extensions.setdefault(_EXTENSION, {})[name] = service


def current_service() -> BlockService:
    """The service of the block routes that the current request is for."""
    services = cast("dict[str, BlockService]", current_app.extensions[_EXTENSION])
    assert request.blueprint is not None
    return services[request.blueprint]


def needs_account(view: Callable[..., object]) -> None:
    """Have the description of the routes say of a view what it asks for by itself."""
    view.required_roles = ()  # type: ignore[attr-defined]


def _directory(db: MeteorDatabase, settings: Settings) -> BlockDirectory:
    return BlockDirectory(db, settings.block_quota_default, settings.block_traffic_default)


def _provider(db: MeteorDatabase, settings: Settings, accounts: AccountSource) -> Provider | None:
    if not settings.block_accounting_routes:
        return None
    if accounts.name == "remote":
        raise ConfigurationError("block_accounting_routes: the accounts are known to another server")
    numbers = AccountNumbers(db.transactions, db.clock, accounts.name)
    return Provider(accounts, numbers, settings.block_accounting_secret)


def _hub_limits(settings: Settings) -> HubLimits:
    return HubLimits(
        all=settings.block_listeners,
        each=settings.block_listeners_per_account,
        in_threads=max(1, settings.threads // 4),
    )


def _account_options(settings: Settings) -> AccountOptions:
    return AccountOptions(
        source=settings.block_accounts,
        accounting_url=settings.block_accounting_url,
        accounting_secret=settings.block_accounting_secret,
        dummy_token=settings.block_dummy_token,
        is_insecure_allowed=settings.block_insecure,
        cache=settings.block_cache,
        fresh_seconds=settings.block_account_cache_seconds,
        stale_seconds=settings.block_account_stale_seconds,
    )
