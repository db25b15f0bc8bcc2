"""What the block routes of one application share: accounts, terms, and the store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from flask import request

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks import sweeping
from meteorpi_db.blocks.changes import Stored, Terms, Upload
from meteorpi_db.blocks.conditions import Demands
from meteorpi_db.blocks.direct import ADDRESS, DirectUploads
from meteorpi_db.blocks.directory import stored_id
from meteorpi_db.blocks.event_log import EventLog
from meteorpi_db.blocks.events import BlockEvent
from meteorpi_db.blocks.quota import QuotaRule
from meteorpi_db.blocks.register import BlockRegister
from meteorpi_db.blocks.resuming import ResumableUploads
from meteorpi_db.blocks.rows import PrefixRow
from meteorpi_db.filestore import FileStore
from meteorpi_db.filestore.measured import MeasuredFileStore, kind_of
from meteorpi_model import utc_datetime_to_milliseconds
from meteorpi_server import cors
from meteorpi_server.block_accounts import Account, AccountSource
from meteorpi_server.block_api import metrics
from meteorpi_server.block_api.allowances import Allowances
from meteorpi_server.block_api.assembling import accounts_of, hub_limits, provider_of
from meteorpi_server.block_api.current import current_caller
from meteorpi_server.block_api.leaving import LeavingPrefixes
from meteorpi_server.block_api.metrics import BlockMetrics
from meteorpi_server.block_api.receiving import Incoming, Receiver
from meteorpi_server.block_api.request_notes import note_account
from meteorpi_server.block_api.signed_links import LinkSigner
from meteorpi_server.block_api.slow_reading import SlowReading
from meteorpi_server.block_api.traffic import TrafficMeter
from meteorpi_server.block_api.transfers import Transfers
from meteorpi_server.block_events import EventBroker, EventHub, open_broker
from meteorpi_server.metrics import Memo
from meteorpi_server.settings import Settings
from meteorpi_server.stopping import StopRequest
from meteorpi_server.tallies import tally_of_node


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
        receiver: takes objects in that come in one request.
        uploads: those that take several requests.
        direct: those that pass this node by.
        links: signs them.
        slow_reading: of accounts of which much was read.
        allowances: what may be read.
        leaving: prefixes that go with everything below them.
        provider: answers other servers about accounts; None where it does not.
        memo: answers that are costly to get.
        events: those who listen.

    Args:
        db, settings: of the node.
        accounts: who knows accounts; None as the settings say.
        store: where bytes are; None as the settings say. What the node itself does for contents (backups,
            verification) sees those of another store only when the setting `block_store` names it.
        events: wakes those who listen in other processes; None as the settings say.
        stop: whether the process has to end; None for never.

    Raises:
        ConfigurationError: the settings lack something, or contradict each other.
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
        self.accounts = accounts or accounts_of(db, settings)
        chosen = store or db.stores.blocks
        self.metrics = BlockMetrics(tally_of_node(settings.metrics_dir, db.store), kind_of(chosen))
        self.store = MeasuredFileStore(chosen, self.metrics)
        self.register = BlockRegister(db.transactions, db.clock)
        self.traffic = TrafficMeter(self.register)
        self.transfers = Transfers(settings.block_transfers, settings.block_transfer_wait_seconds)
        self.receiver = Receiver(self.register, self.store, self.transfers)
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
        self.events = EventHub(self._log, broker, hub_limits(settings), stop)
        self.links = LinkSigner(settings.block_link_keys, lambda: db.secret_box.derived_key("block links"))
        self.slow_reading = SlowReading(settings.block_traffic_soft_rate)
        self.leaving = LeavingPrefixes(self.register, self.announce_all)
        self.allowances = Allowances(self.accounts, self.traffic, self.slow_reading)
        self.provider = provider_of(db, settings, self.accounts)
        self._count_along()
        self._rule = QuotaRule(
            growth_bytes=settings.block_metafile_growth_bytes, grace_bytes=settings.block_quota_grace_bytes
        )

    def caller(self) -> Account:
        """The account of the current request; see :meth:`AccountSource.identify` for what it raises."""
        account = self.accounts.identify(self._credentials(), current_caller())
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

    def read_policy_of(self, place: PrefixRow | None) -> str:
        """Who may read below a prefix; one that does not exist looks like one without a policy of its own."""
        return (None if place is None else place.read_policy) or self.settings.block_read_policy

    def upload(self, account: Account, upload: Upload, incoming: Incoming) -> Stored:
        """Take the bytes of an object in; raises as :meth:`Receiver.receive`."""
        stored = self.receiver.receive(upload, incoming, self.terms_of(account))
        self.announce(stored.event)
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

    def keep_up(self) -> None:
        """Remove the bytes of what was replaced or removed; forget uploads and events whose time is over."""
        self._log.forget_old()
        database, store, now = self._db.transactions, self.store, self._db.clock()
        grace = self.settings.block_readers_grace
        self.metrics.swept("contents", sweeping.sweep_released(database, store, now, grace))
        self.metrics.swept("uploads", sweeping.sweep_uploads(database, store, now))
        self.register.forget_passed(self.settings.block_traffic_keep_months)

    def _count_along(self) -> None:
        """Let the metrics have what the parts count for themselves."""
        database, events, follow = self._db.transactions, self.events, self.metrics.figures.follow
        follow(lambda: metrics.readings_of_transfers(self.transfers))
        follow(lambda: metrics.readings_of_database(database.waited_seconds, database.in_use))
        follow(lambda: metrics.readings_of_events(events.figures.counted(), events.broker.connections))
        follow(lambda: metrics.readings_of_accounts(self.accounts.counted()))


def account_key(account: Account) -> str:
    """The name of an account in the register."""
    return stored_id(account.source, account.account_id)
