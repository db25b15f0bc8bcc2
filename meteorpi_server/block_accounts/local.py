"""The node's own users, with their passwords, and tokens that were issued for blocks.

Nothing is cached: the database of the node is at hand, so a token that was revoked and an account that was
disabled are refused from that instant on. Passwords are slow to check, and the database remembers for a
minute that one was right.

Source: D.1, K-202 and K-208 of the storage contract; RFC 7617.
"""

from __future__ import annotations

from typing import ClassVar, Final, Protocol

from werkzeug.datastructures import Authorization

from meteorpi_model.errors import NotAuthenticatedError, NotFoundError
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

_TOKEN: Final = "token"


class KnownAccount(Protocol):
    """What the database knows of an account, defaults filled in; see :class:`Account`."""

    @property
    def account_id(self) -> str:
        """The id of the user."""

    @property
    def is_active(self) -> bool:
        """Whether both the user and the account for blocks are enabled."""

    @property
    def quota_bytes(self) -> int:
        """Of all its objects together."""

    @property
    def monthly_traffic_bytes(self) -> int:
        """That are downloaded from it in a calendar month."""


class AccountDirectory(Protocol):
    """The database as it is needed here. Failed attempts are counted there, where every process sees them."""

    def account_of_login(self, user_id: str, password: str, address: str | None) -> KnownAccount | None:
        """The account with this password; None when it is wrong, or no user has that id or is enabled.

        Raises:
            TooManyAttemptsError: too many attempts have failed, of this user or from `address`.
        """

    def account_of_token(self, secret: str, address: str | None) -> KnownAccount | None:
        """The account that a token for blocks stands for; None when there is none, or it has expired.

        The lookup is by the digest of `secret`, so its time tells nothing about tokens that exist.

        Raises:
            TooManyAttemptsError: too many attempts have failed from `address`; never without an address.
        """

    def account_called(self, account_id: str) -> KnownAccount | None:
        """The account with this id, None when there is none."""


class LocalAccounts(AccountSource):
    """Whoever the node knows.

    Args:
        directory: the database.
    """

    name: ClassVar[str] = "local"

    def __init__(self, directory: AccountDirectory) -> None:
        self._directory = directory

    def look_up(self, authorization: str | None, caller: Caller = NOBODY) -> Account:
        """Look for the user, or the token; schemes are written in any case (RFC 9110 section 11.1)."""
        if authorization is None or not authorization.strip():
            raise NotAuthenticatedError(NO_CREDENTIALS)
        found = self._found(authorization, caller)
        if found is None:
            raise NotAuthenticatedError(WRONG_CREDENTIALS)
        return _account(found)

    def limits_of(self, account_id: str, caller: Caller = NOBODY) -> Limits:
        """Look for the account."""
        found = self._directory.account_called(account_id)
        if found is None:
            raise NotFoundError(UNKNOWN_ACCOUNT)
        return _account(found)

    def _found(self, authorization: str, caller: Caller) -> KnownAccount | None:
        scheme, _, secret = authorization.strip().partition(" ")
        if scheme.lower() == _TOKEN:
            return self._directory.account_of_token(secret.strip(), caller.address)
        try:
            given = Authorization.from_header(authorization)
        except ValueError:  # what should be base64 is not even ASCII; other defects give None
            return None
        if given is None or given.type != "basic" or given.username is None:
            return None
        return self._directory.account_of_login(given.username, given.password or "", caller.address)


def _account(found: KnownAccount) -> Account:
    return Account(
        account_id=found.account_id,
        source=LocalAccounts.name,
        is_active=found.is_active,
        quota_bytes=found.quota_bytes,
        monthly_traffic_bytes=found.monthly_traffic_bytes,
    )
