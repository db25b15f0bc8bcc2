"""The other side of the accounting protocol: what a node answers that knows the accounts of other servers.

Source: A.4 and I-09 of the storage contract.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, Protocol

from meteorpi_model.errors import ConfigurationError, NotAuthenticatedError, NotFoundError
from meteorpi_server.block_accounts.base import GUESSABLE_SECRETS, AccountSource, Caller, Limits
from meteorpi_server.block_accounts.hashing import is_same_secret

MOST_QUESTION_BYTES: Final = 1 << 16
_TOKEN: Final = "token "
_MOST_DIGITS: Final = 18

Answer = tuple[HTTPStatus, Mapping[str, object]]
"""Status, and the document."""


class AccountNumbers(Protocol):
    """Numbers of accounts: the protocol has nothing else, and a number stays what it is."""

    def number_of(self, account_id: str) -> int:
        """The number of an account, given to it now if it has none."""

    def account_numbered(self, number: int) -> str | None:
        """The account with this number, None when there is none."""


class Provider:
    """Answers the questions of other servers.

    Args:
        source: knows the accounts.
        numbers: knows their numbers.
        secret: that those servers know.

    Raises:
        ConfigurationError: everybody can guess the secret.
    """

    def __init__(self, source: AccountSource, numbers: AccountNumbers, secret: str) -> None:
        if secret in GUESSABLE_SECRETS:
            raise ConfigurationError("accounting routes need a secret that nobody guesses")
        self._source = source
        self._numbers = numbers
        self._secret = secret

    def is_trusted(self, secret: str | None) -> bool:
        """Whether this is the secret; what an untrusted caller sends is not to be logged."""
        return is_same_secret(secret, self._secret)

    def answer(self, secret: str | None, body: bytes, request_id: str = "") -> Answer:
        """Answer one question.

        Args:
            secret: value of the header ``APISECRET``, None when there is none.
            body: of the request.
            request_id: what the log names it by; what the caller calls it, if that one is trusted.

        Raises:
            AccountingUnavailableError: as the source does.
        """
        if not self.is_trusted(secret):
            return _error(HTTPStatus.FORBIDDEN, "Invalid API key")
        # Without an address: another server asks for all of its clients, of whom some may guess.
        caller = Caller(request_id=request_id)
        question = _object(body)
        if question is None:
            return _error(HTTPStatus.BAD_REQUEST, "the request must be a JSON object")
        match question:
            case {"auth": _, "user_id": _}:
                return _error(HTTPStatus.BAD_REQUEST, "auth and user_id cannot both be given")
            case {"auth": str(authorization)} if authorization.lower().startswith(_TOKEN):
                return self._by_credentials(authorization, caller)
            case {"auth": _}:
                return _error(HTTPStatus.BAD_REQUEST, "the scheme of auth must be Token")
            case {"user_id": number} if _is_number(number):
                return self._by_number(int(number), caller)
            case {"user_id": _}:
                return _error(HTTPStatus.BAD_REQUEST, "user_id must be a number")
            case _:
                return _error(HTTPStatus.BAD_REQUEST, "either auth or user_id has to be given")

    def _by_credentials(self, authorization: str, caller: Caller) -> Answer:
        try:
            account = self._source.look_up(authorization, caller)
        except NotAuthenticatedError:
            return _error(HTTPStatus.NOT_FOUND, "unknown token")
        return _found(account, self._numbers.number_of(account.account_id))

    def _by_number(self, number: int, caller: Caller) -> Answer:
        account_id = self._numbers.account_numbered(number)
        if account_id is None:
            return _error(HTTPStatus.NOT_FOUND, "unknown user")
        try:
            return _found(self._source.limits_of(account_id, caller), number)
        except NotFoundError:
            return _error(HTTPStatus.NOT_FOUND, "unknown user")


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body) if len(body) <= MOST_QUESTION_BYTES else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS
    return type(value) is int and 0 <= value < 10**_MOST_DIGITS  # a bool is an int, too


def _found(limits: Limits, number: int) -> Answer:
    return HTTPStatus.OK, {
        "user_id": number,
        "active": limits.is_active,
        "block_quota": limits.quota_bytes,
        "monthly_traffic_quota": limits.monthly_traffic_bytes,
    }


def _error(status: HTTPStatus, text: str) -> Answer:
    return status, {"error": text}
