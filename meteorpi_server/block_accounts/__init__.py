"""Who may store blocks, and how much: three sources of accounts behind one small interface.

=====================  =======================================================================
:mod:`.base`           the interface, and what is known of an account
:mod:`.local`          the node's own users and tokens
:mod:`.remote`         an accounting server, asked through :mod:`.accounting`
:mod:`.dummy`          one account for everybody who knows a word; for development
:mod:`.caches`         where answers of the accounting server are kept, here or in Redis
:mod:`.provider`       the other side: a node that is the accounting server of others
=====================  =======================================================================

Nothing here knows the web framework.
"""

from meteorpi_server.block_accounts.base import Account, AccountSource, Caller, Limits
from meteorpi_server.block_accounts.choosing import AccountOptions, open_accounts
from meteorpi_server.block_accounts.local import AccountDirectory, KnownAccount
from meteorpi_server.block_accounts.provider import AccountNumbers, Provider

__all__ = [
    "Account",
    "AccountDirectory",
    "AccountNumbers",
    "AccountOptions",
    "AccountSource",
    "Caller",
    "KnownAccount",
    "Limits",
    "Provider",
    "open_accounts",
]
