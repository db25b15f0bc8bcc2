"""A source of accounts as the settings want it.

Source: D.1, K-201, K-420 and part G of the storage contract.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.block_accounts.base import AccountSource
from meteorpi_server.block_accounts.caches import AccountCache, MemoryCache
from meteorpi_server.block_accounts.dummy import DummyAccounts
from meteorpi_server.block_accounts.hashing import CacheKeys
from meteorpi_server.block_accounts.local import AccountDirectory, LocalAccounts

MEMORY: Final = "memory"


@dataclass(frozen=True, kw_only=True)
class AccountOptions:
    """What can be chosen.

    Attributes:
        source: ``local``, ``remote`` or ``dummy``.
        accounting_url: where the accounting server is.
        accounting_secret: that it knows us by.
        accounting_ca_file: PEM file with the certificates that it is trusted by, empty for the usual ones.
        dummy_token: the word of dummy accounts.
        is_insecure_allowed: whether there may be dummy accounts.
        cache: ``memory``, or the URL of a Redis; it may hold a password.
        fresh_seconds: how long an answer of the accounting server is good.
        stale_seconds: how much longer it is used as long as there is no other; 0 for not at all.
    """

    source: str = LocalAccounts.name
    accounting_url: str = ""
    accounting_secret: str = field(default="", repr=False)
    accounting_ca_file: str = ""
    dummy_token: str = field(default="", repr=False)
    is_insecure_allowed: bool = False
    cache: str = field(default=MEMORY, repr=False)
    fresh_seconds: float = 60.0
    stale_seconds: float = 0.0


def open_accounts(options: AccountOptions, directory: AccountDirectory) -> AccountSource:
    """The source that `options` name; nothing is asked yet.

    Args:
        options: what was chosen.
        directory: the node's own accounts, for ``local``.

    Raises:
        ConfigurationError: something is missing or cannot be used, a library included; says what.
    """
    match options.source:
        case LocalAccounts.name:
            return LocalAccounts(directory)
        case "remote":
            return _remote(options)
        case DummyAccounts.name:
            return DummyAccounts(options.dummy_token, is_allowed=options.is_insecure_allowed)
        case _:
            raise ConfigurationError(f"accounts must be local, remote or dummy, not {options.source!r}")


def _remote(options: AccountOptions) -> AccountSource:
    # Others load nothing of what it takes to ask another server.
    from meteorpi_server.block_accounts.accounting import AccountingServer
    from meteorpi_server.block_accounts.remote import RemoteAccounts

    server = AccountingServer(
        options.accounting_url, options.accounting_secret, ca_file=options.accounting_ca_file or None
    )
    return RemoteAccounts(
        server,
        CacheKeys(options.accounting_secret, options.accounting_url),
        _open_cache(options.cache),
        fresh_seconds=options.fresh_seconds,
        stale_seconds=options.stale_seconds,
    )


def _open_cache(name: str) -> AccountCache:
    if name == MEMORY:
        return MemoryCache()
    try:
        from meteorpi_server.block_accounts.redis_cache import RedisCache
    except ModuleNotFoundError as error:
        raise ConfigurationError("a cache in Redis needs: pip install 'meteorpi[redis]'") from error
    return RedisCache(name)
