"""One request to the accounting server, and what its answer means.

Its address was chosen by whoever runs the node, so nothing is checked here but the certificate. No redirect
is followed: the secret is for one server.

Source: A.4, K-203 and K-114 of the storage contract.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, ProtocolError
from werkzeug.http import parse_date

from meteorpi_model import now
from meteorpi_model.errors import ConfigurationError, UnavailableError
from meteorpi_server.block_accounts.base import GUESSABLE_SECRETS, Account
from meteorpi_server.outbound.pooled import PacedPools
from meteorpi_server.outbound.transport import Timeouts, trusting

PATH: Final = "/api/v0/internal/user/"
SECRET_HEADER: Final = "APISECRET"
CONNECT_SECONDS: Final = 3.0
TOTAL_SECONDS: Final = 10.0
MOST_ANSWER_BYTES: Final = 1 << 16
MOST_WAIT_SECONDS: Final = 300
"""Longest time that an accounting server can keep us from asking it again."""

_BIGGEST: Final = (1 << 63) - 1
_KEYS: Final = frozenset({"user_id", "active", "block_quota", "monthly_traffic_quota"})


def timeouts(connect: float = CONNECT_SECONDS, total: float = TOTAL_SECONDS) -> Timeouts:
    """How long the server may take: to be reached, and for everything; seconds."""
    answer = total - connect
    return Timeouts(connect=connect, first_byte=answer, idle=answer, total=answer)


@dataclass(frozen=True)
class Unknown:
    """Nobody has these credentials, or this id."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """There is no answer to go by.

    Attributes:
        reason: for the log; a few words without anything of the request.
        wait_seconds: how long the server wants to be left alone, None when it does not say.
        is_ours: whether it is our secret that is wrong.
    """

    reason: str
    wait_seconds: int | None = None
    is_ours: bool = False


Outcome = Account | Unknown | Failure


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer as it came.

    Attributes:
        status: HTTP status.
        content: the body; of one that is too long so much that it cannot be read.
        retry_after: value of the header, empty when there is none.
    """

    status: int
    content: bytes
    retry_after: str = ""


class AccountingServer:
    """Asks one accounting server; used by several threads at the same time. Connections are used again.

    Args:
        url: what the path of the protocol is appended to.
        secret: that it knows us by.
        limits: how long it may take, see :func:`timeouts`.
        ca_file: PEM file with the certificates to trust instead of the usual ones, or None.

    Raises:
        ConfigurationError: the URL or the secret cannot be used, or `ca_file` cannot be read.
    """

    def __init__(
        self, url: str, secret: str, *, limits: Timeouts | None = None, ca_file: str | None = None
    ) -> None:
        self._url = _checked_url(url) + PATH
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "meteorpi",
            SECRET_HEADER: _checked_secret(secret),
        }
        self._limits = limits or timeouts()
        self._pools = PacedPools(self._limits, _context(ca_file))

    def ask(self, question: Mapping[str, object], request_id: str = "") -> Reply:
        """Ask once; a connection that the server closed while it was idle is opened again.

        Args:
            question: the document of the request.
            request_id: by which the log of the server names it; left out when it is empty.

        Raises:
            UnavailableError: no connection, no trust in the certificate, or no whole answer in time.
        """
        body = json.dumps(question).encode()
        headers = self._headers | ({"X-Request-ID": request_id} if request_id else {})
        try:
            try:
                return self._ask_once(body, headers)
            except ProtocolError as error:
                if not any(isinstance(argument, ConnectionError) for argument in error.args):
                    raise
            return self._ask_once(body, headers)
        except (HTTPError, OSError, ValueError) as error:
            # Of the error only its kind is named: its text may hold the whole request.
            raise UnavailableError(f"the accounting server did not answer: {type(error).__name__}") from error

    @property
    def total_seconds(self) -> float:
        """How long :meth:`ask` takes at most, where the name of the server has one address."""
        return self._limits.connect + self._limits.total

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._pools.clear()

    def _ask_once(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        answer = self._pools.urlopen(
            "POST",
            self._url,
            redirect=False,
            retries=False,
            body=body,
            headers=headers,
            timeout=urllib3.Timeout(connect=self._limits.connect, read=self._limits.first_byte),
            preload_content=False,
            decode_content=False,
        )
        try:
            content = _content(answer)
            wish = answer.headers.get("Retry-After", "")
            return Reply(status=answer.status, content=content, retry_after=wish)
        except BaseException:
            answer.close()
            raise
        finally:
            answer.release_conn()


def _content(answer: urllib3.BaseHTTPResponse) -> bytes:
    """The body; read until there is no more, since only then it is known not to have been cut off."""
    content = b""
    while chunk := answer.read(MOST_ANSWER_BYTES + 1 - len(content)):
        content += chunk
        if len(content) > MOST_ANSWER_BYTES:
            answer.close()
            break
    return content


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ConfigurationError("the URL of the accounting server cannot be read") from error
    if not is_usable or parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError("the URL of the accounting server must be http(s)://host[:port][/path]")
    return url.rstrip("/")


def _checked_secret(secret: str) -> str:
    if secret in GUESSABLE_SECRETS:
        raise ConfigurationError("the accounting server needs a secret that nobody guesses")
    if not (secret.isascii() and secret.isprintable()) or secret != secret.strip():
        raise ConfigurationError("the secret of the accounting server must be one line of ASCII")
    return secret


def _context(ca_file: str | None) -> ssl.SSLContext:
    try:
        return trusting(ca_file)
    except OSError as error:
        raise ConfigurationError(f"the certificates in {ca_file} cannot be read") from error


def read_reply(reply: Reply, account_id: str | None = None) -> Outcome:
    """What an answer means.

    Args:
        reply: the answer.
        account_id: the account that was asked for, None when credentials were.
    """
    match reply.status:
        case HTTPStatus.OK:
            return _read_account(reply.content, account_id)
        case HTTPStatus.BAD_REQUEST | HTTPStatus.NOT_FOUND:
            return Unknown()
        case HTTPStatus.FORBIDDEN:
            return Failure(reason="it does not know our secret", is_ours=True)
        case _:
            wait_seconds = _wait_seconds(reply.retry_after)
            return Failure(reason=f"status {reply.status}", wait_seconds=wait_seconds)


def _read_account(content: bytes, account_id: str | None) -> Outcome:
    try:
        found: Any = json.loads(content)
    except (ValueError, RecursionError):
        return Failure(reason="an answer that is no JSON")
    if not isinstance(found, dict):
        return Failure(reason="an answer that is no JSON object")
    if not found.keys() >= _KEYS:
        return Unknown()
    numbers = [found[name] for name in ("user_id", "block_quota", "monthly_traffic_quota")]
    if not all(map(_is_number, numbers)) or not isinstance(found["active"], bool):
        return Failure(reason="an answer with values of other types")
    if account_id not in (None, str(found["user_id"])):
        return Failure(reason="an answer about another account")
    return Account(
        account_id=str(found["user_id"]),
        source="remote",
        is_active=found["active"],
        quota_bytes=found["block_quota"],
        monthly_traffic_bytes=found["monthly_traffic_quota"],
    )


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value <= _BIGGEST  # a bool is an int, too


def _wait_seconds(text: str) -> int | None:
    """What ``Retry-After`` asks for (RFC 9110 section 10.2.3), but not without end."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        seconds = int(text) if len(text) < 10 else MOST_WAIT_SECONDS
    elif (instant := parse_date(text)) is not None:
        seconds = round((instant.replace(tzinfo=None) - now()).total_seconds())
    else:
        return None
    return min(max(1, seconds), MOST_WAIT_SECONDS)
