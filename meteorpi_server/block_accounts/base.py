"""What is known of an account, and the interface of whoever knows it.

Source: D.1, K-202 and K-205 of the storage contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final

from meteorpi_model.errors import NotAllowedError
from meteorpi_server.block_accounts.figures import Counted

NO_CREDENTIALS: Final = "this route needs an account: send the header Authorization"
WRONG_CREDENTIALS: Final = "unknown or expired credentials"
"""Deliberately the same whatever was wrong with them."""

GUESSABLE_SECRETS: Final = frozenset({"", "secret"})

UNKNOWN_ACCOUNT: Final = "there is no such account"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an account may use.

    Attributes:
        is_active: whether it may do anything; what it offers to everybody can be read even if not.
        quota_bytes: of all its objects together.
        monthly_traffic_bytes: that are downloaded from it in a calendar month (UTC).
    """

    is_active: bool
    quota_bytes: int
    monthly_traffic_bytes: int


@dataclass(frozen=True, kw_only=True)
class Account(Limits):
    """Who sent a request, and what may be used.

    Attributes:
        account_id: what the source calls it; two sources may use the same id for different accounts.
        source: ``local``, ``remote`` or ``dummy``.
        may_write_anywhere: also below prefixes of others and of nobody.
    """

    account_id: str
    source: str
    may_write_anywhere: bool = False


@dataclass(frozen=True, kw_only=True)
class Caller:
    """What is known of a caller beside the credentials.

    Attributes:
        address: network address, for slowing down who guesses; None for a caller that is trusted not to.
        request_id: by which the logs of all servers involved name the request; empty for none.
    """

    address: str | None = None
    request_id: str = ""


NOBODY: Final = Caller()


class AccountSource(ABC):
    """Knows accounts. Used by several threads at the same time; nothing is opened before the first use.

    Attributes:
        name: of the kind of source.
    """

    name: ClassVar[str]

    def identify(self, authorization: str | None, caller: Caller = NOBODY) -> Account:
        """Give the account that a request with this header may act for; it is active.

        Args:
            authorization: value of the header ``Authorization``, None when there is none.
            caller: where the request comes from.

        Raises:
            NotAuthenticatedError: no credentials, or wrong ones.
            NotAllowedError: the account is disabled, or not confirmed yet.
            TooManyAttemptsError: whoever asks has failed too often; says for how long to wait.
            AccountingUnavailableError: nobody can say now; says when to ask again.
        """
        account = self.look_up(authorization, caller)
        if not account.is_active:
            raise NotAllowedError("this account is disabled, or has not been confirmed")
        return account

    @abstractmethod
    def look_up(self, authorization: str | None, caller: Caller = NOBODY) -> Account:
        """Give the account with these credentials, active or not.

        Raises:
            NotAuthenticatedError, TooManyAttemptsError, AccountingUnavailableError: as :meth:`identify`.
        """

    @abstractmethod
    def limits_of(self, account_id: str, caller: Caller = NOBODY) -> Limits:
        """Give what an account may use, without its credentials: reads need it of the owner.

        Raises:
            NotFoundError: there is no such account.
            AccountingUnavailableError: nobody can say now. What everybody may read is to be served even so.
        """

    def check(self) -> None:
        """Return when the source can be asked; it is bothered with a request, so ask seldom.

        Raises:
            AccountingUnavailableError: it cannot.
        """
        return

    def counted(self) -> Counted:
        """What was counted of whoever is asked; nothing where nobody is."""
        return Counted()

    def close(self) -> None:
        """Close what was opened; the source may be used again."""
        return
