"""One account for everybody who knows a word: for development, and nothing else.

Source: A.5 and K-201 of the storage contract.
"""

from __future__ import annotations

import logging
from typing import ClassVar, Final

from meteorpi_model.errors import ConfigurationError, NotAuthenticatedError, NotFoundError
from meteorpi_server.block_accounts.base import (
    NO_CREDENTIALS,
    NOBODY,
    UNKNOWN_ACCOUNT,
    WRONG_CREDENTIALS,
    Account,
    AccountSource,
    Caller,
    Limits,
)
from meteorpi_server.block_accounts.hashing import is_same_secret

ACCOUNT: Final = Account(
    account_id="0",
    source="dummy",
    is_active=True,
    quota_bytes=2 << 30,
    monthly_traffic_bytes=20 << 30,
    may_write_anywhere=True,
)

logger = logging.getLogger("meteorpi.block.accounts")


class DummyAccounts(AccountSource):
    """Account 0, for whoever sends exactly ``Token <word>``.

    Args:
        token: the word.
        is_allowed: whether the node runs for development, or its owner insists.

    Raises:
        ConfigurationError: not allowed, or there is no word.
    """

    name: ClassVar[str] = "dummy"

    def __init__(self, token: str, *, is_allowed: bool) -> None:
        if not is_allowed:
            raise ConfigurationError(
                "dummy accounts let everybody in who knows one word: they are for debug mode only, unless "
                "METEORPI_BLOCK_INSECURE is set"
            )
        if not token:
            raise ConfigurationError("dummy accounts need a word that is their token")
        self._expected = f"Token {token}"
        logger.warning("dummy accounts are in use: whoever knows the token may write anywhere")

    def look_up(self, authorization: str | None, caller: Caller = NOBODY) -> Account:
        """Compare the header."""
        if authorization is None:
            raise NotAuthenticatedError(NO_CREDENTIALS)
        if not is_same_secret(authorization, self._expected):
            raise NotAuthenticatedError(WRONG_CREDENTIALS)
        return ACCOUNT

    def limits_of(self, account_id: str, caller: Caller = NOBODY) -> Limits:
        """The limits of account 0."""
        if account_id != ACCOUNT.account_id:
            raise NotFoundError(UNKNOWN_ACCOUNT)
        return ACCOUNT
