"""The parts of the service as the settings ask for them."""

from __future__ import annotations

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks.directory import BlockDirectory
from meteorpi_db.blocks.numbers import AccountNumbers
from meteorpi_model.errors import ConfigurationError
from meteorpi_server.block_accounts import AccountOptions, AccountSource, Provider, open_accounts
from meteorpi_server.block_events import HubLimits
from meteorpi_server.settings import Settings


def accounts_of(db: MeteorDatabase, settings: Settings) -> AccountSource:
    """Who knows accounts.

    Raises:
        ConfigurationError: the settings lack something that the accounts need.
    """
    options = AccountOptions(
        source=settings.block_accounts,
        accounting_url=settings.block_accounting_url,
        accounting_secret=settings.block_accounting_secret,
        dummy_token=settings.block_dummy_token,
        is_insecure_allowed=settings.block_insecure,
        cache=settings.block_cache,
        fresh_seconds=settings.block_account_cache_seconds,
        stale_seconds=settings.block_account_stale_seconds,
    )
    directory = BlockDirectory(db, settings.block_quota_default, settings.block_traffic_default)
    return open_accounts(options, directory)


def provider_of(db: MeteorDatabase, settings: Settings, accounts: AccountSource) -> Provider | None:
    """What answers other servers about accounts; None where that is not wanted.

    Raises:
        ConfigurationError: the accounts are another server's.
    """
    if not settings.block_accounting_routes:
        return None
    if accounts.name == "remote":
        raise ConfigurationError("block_accounting_routes: the accounts are known to another server")
    numbers = AccountNumbers(db.transactions, db.clock, accounts.name)
    return Provider(accounts, numbers, settings.block_accounting_secret)


def hub_limits(settings: Settings) -> HubLimits:
    """How many may listen."""
    return HubLimits(
        all=settings.block_listeners,
        each=settings.block_listeners_per_account,
        in_threads=max(1, settings.threads // 4),
    )
