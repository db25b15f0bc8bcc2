"""The node's own users as owners of blocks: by password, by token, or by name.

Source: D.1, K-202 and K-208 of the storage contract.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import Connection

from meteorpi_db.accounts import throttle, users
from meteorpi_db.blocks import tokens
from meteorpi_db.blocks.quota import DEFAULT_QUOTA_BYTES, DEFAULT_TRAFFIC_BYTES
from meteorpi_db.blocks.rows import find_account
from meteorpi_model import utc_datetime_to_milliseconds
from meteorpi_model.errors import NotAuthenticatedError

if TYPE_CHECKING:
    from meteorpi_db.database import MeteorDatabase

T = TypeVar("T")
LOCAL: Final = "local"


@dataclass(frozen=True, kw_only=True)
class LocalAccount:
    """What the node says of one of its users.

    Attributes:
        account_id: the id of the user.
        is_active: whether user and account are enabled.
        quota_bytes: of all objects together.
        monthly_traffic_bytes: that may be read in a calendar month.
    """

    account_id: str
    is_active: bool
    quota_bytes: int
    monthly_traffic_bytes: int


def stored_id(source: str, account_id: str) -> str:
    """The name of an account in the tables, where those of all sources are side by side."""
    return f"{source}:{account_id}"


class BlockDirectory:
    """Looks the node's own users up.

    Args:
        db: of the node.
        quota_bytes, traffic_bytes: of accounts that have none of their own.
    """

    def __init__(
        self,
        db: MeteorDatabase,
        quota_bytes: int = DEFAULT_QUOTA_BYTES,
        traffic_bytes: int = DEFAULT_TRAFFIC_BYTES,
    ) -> None:
        self._db = db
        self._quota_bytes = quota_bytes
        self._traffic_bytes = traffic_bytes

    def account_of_login(self, user_id: str, password: str, address: str | None) -> LocalAccount | None:
        """The account with this password, None when it is wrong or there is no such user.

        Raises:
            TooManyAttemptsError: too many attempts have failed.
        """
        try:
            user = self._db.log_in(user_id, password, address)
        except NotAuthenticatedError:
            return None
        return self._in_one_look(lambda c: self._account(c, user.user_id, is_enabled=True))

    def account_of_token(self, secret: str, address: str | None) -> LocalAccount | None:
        """The account that a token stands for, None when there is none or it has expired.

        Raises:
            TooManyAttemptsError: too many attempts have failed from `address`; never without one, as when
                another server asks for all of its clients.
        """
        subjects = () if address is None else (f"address:{address}",)
        now = utc_datetime_to_milliseconds(self._db.clock())
        with self._db.transactions.reading() as connection:
            found = tokens.find(connection, secret, now)
            if found is None:  # a good token never waits: somebody at the same address may repeat an old one
                throttle.check(connection, subjects, now)
            account = None if found is None else self._called(connection, found.account_id.partition(":")[2])
        if found is None:
            self._db.transactions.write(lambda c: throttle.record_failure(c, subjects, now))
            return None
        if not tokens.is_use_noted(found, now):
            self._db.transactions.write(lambda c: tokens.note_use(c, secret, now))
        return account

    def account_called(self, account_id: str) -> LocalAccount | None:
        """The account of this user, None when there is no such user."""
        return self._in_one_look(lambda c: self._called(c, account_id))

    def _in_one_look(self, operation: Callable[[Connection], T]) -> T:
        """What `operation` reads; to begin and end reading costs as much as a statement or two."""
        with self._db.transactions.reading() as connection:
            return operation(connection)

    def _called(self, connection: Connection, account_id: str) -> LocalAccount | None:
        user = users.credentials_of(connection, account_id)
        return None if user is None else self._account(connection, account_id, is_enabled=user.is_enabled)

    def _account(self, connection: Connection, user_id: str, *, is_enabled: bool) -> LocalAccount:
        row = find_account(connection, stored_id(LOCAL, user_id))
        quota = None if row is None else row.quota
        traffic = None if row is None else row.traffic_quota
        return LocalAccount(
            account_id=user_id,
            is_active=is_enabled and (row is None or row.is_active),
            quota_bytes=self._quota_bytes if quota is None else quota,
            monthly_traffic_bytes=self._traffic_bytes if traffic is None else traffic,
        )
