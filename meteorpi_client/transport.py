"""One connection to a node: credentials, timeouts, repetition, and answers checked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from meteorpi_client.problems import error_from_reply, retry_after_seconds
from meteorpi_model.errors import (
    ConfigurationError,
    InvalidDocumentError,
    PeerError,
    PeerRefusedError,
    PeerUnavailableError,
)
from meteorpi_model.values import JsonObject

T = TypeVar("T")

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_SAFE = frozenset({"GET", "HEAD"})
_LATER = frozenset({502, 503, 504})
_FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait, and how often to try again.

    Attributes:
        connect_seconds: for a connection.
        read_seconds: for the next byte of an answer.
        retries: repetitions of a request that may be repeated, after the connection failed or the node
            answered 502, 503 or 504. The pauses double from 0.2 seconds, and are never longer than 30; a
            node that asks for more is not asked again.
        sleep: how to pause; tests pass one that does not.
    """

    connect_seconds: float = 10.0
    read_seconds: float = 60.0
    retries: int = 3
    sleep: Callable[[float], None] = time.sleep

    def pause(self, attempt: int, asked_seconds: float = 0.0) -> None:
        """Wait before attempt number `attempt` + 1; at least what the node asked for, within reason."""
        pause = max(_FIRST_PAUSE_SECONDS * 2**attempt, asked_seconds)
        self.sleep(min(pause, LONGEST_PAUSE_SECONDS))


class Anonymous(AuthBase):
    """Send no credentials; without this Requests would take some from a ``.netrc`` file."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Leave `request` as it is."""
        return request


class BearerToken(AuthBase):
    """Send an API token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the token to `request`."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def credentials(auth: tuple[str, str] | None, token: str | None) -> AuthBase:
    """What to send along: Basic credentials, a token, or nothing.

    Raises:
        InvalidDocumentError: both are given.
    """
    if auth is not None and token is not None:
        raise InvalidDocumentError("give either auth (user and password) or token, not both")
    if token is not None:
        return BearerToken(token)
    if auth is not None:
        user_id, password = auth
        return HTTPBasicAuth(user_id.encode("utf-8"), password.encode("utf-8"))
    return Anonymous()


class Transport:
    """Sends requests below one base address and gives back answers that are good, or raises.

    Args:
        base_url: address of the node without trailing slash.
        auth: what `credentials` gave.
        verify: True checks certificates against the known authorities, a path against those in that file.
        patience: timeouts and repetitions.
    """

    def __init__(self, base_url: str, auth: AuthBase, verify: bool | str, patience: Patience) -> None:
        self.base_url = base_url
        self.patience = patience
        self._session = requests.Session()
        self._session.auth = auth
        self._verify = verify

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()

    def get_json(self, path: str) -> JsonObject:
        """The JSON object at `path`."""
        return self.send_json("GET", path)

    def send_json(self, method: str, path: str, document: JsonObject | None = None) -> JsonObject:
        """Send `document`, if any, and read the JSON object that is the answer.

        Raises:
            MeteorError: the class the node's problem document names.
            PeerUnavailableError: no connection, no answer in time, or one that was cut short.
            PeerRefusedError: an answer that is not a JSON object, or a certificate that is not trusted.
        """
        with self.open(method, path, document=document) as reply:
            return json_object(reply)

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        document: JsonObject | None = None,
        headers: Mapping[str, str] | None = None,
        accept: frozenset[int] = frozenset(),
    ) -> Iterator[requests.Response]:
        """Open an answer whose body has not been read yet.

        Args:
            method: GET, POST, PUT or DELETE.
            path: below the base address, beginning with a slash.
            document: sent as JSON.
            headers: of the request.
            accept: status codes of 400 or more that are answers here, not errors.
        """
        reply = self._send(method, path, document, headers)
        with reply:
            if reply.status_code >= 400 and reply.status_code not in accept:
                raise error_from_reply(reply)
            if 300 <= reply.status_code < 400 and reply.status_code != 304:
                raise PeerRefusedError(
                    f"the node has moved to {reply.headers.get('Location')!r}", url=reply.url
                )
            with reading(reply):
                yield reply

    def _send(
        self, method: str, path: str, document: JsonObject | None, headers: Mapping[str, str] | None
    ) -> requests.Response:
        retries = self.patience.retries if method in _IDEMPOTENT else 0
        for attempt in range(retries):
            try:
                reply = self._send_once(method, path, document, headers)
            except PeerUnavailableError:
                self.patience.pause(attempt)
                continue
            wish_seconds = retry_after_seconds(reply)
            if reply.status_code not in _LATER or wish_seconds > LONGEST_PAUSE_SECONDS:
                return reply
            reply.close()
            self.patience.pause(attempt, wish_seconds)
        return self._send_once(method, path, document, headers)

    def _send_once(
        self, method: str, path: str, document: JsonObject | None, headers: Mapping[str, str] | None
    ) -> requests.Response:
        try:
            return self._session.request(
                method,
                self.base_url + path,
                json=document,
                headers=headers,
                # Of the session, it would give way to the environment's REQUESTS_CA_BUNDLE.
                verify=self._verify,
                timeout=(self.patience.connect_seconds, self.patience.read_seconds),
                stream=True,
                # Elsewhere a redirection would turn POST into GET, or send a change to another host.
                allow_redirects=method in _SAFE,
            )
        except requests.RequestException as error:
            raise peer_error(error, self.base_url) from error
        except OSError as error:  # Requests' own way of saying that the file of authorities is missing
            raise ConfigurationError(str(error)) from error


@contextmanager
def reading(reply: requests.Response) -> Iterator[None]:
    """Translate what goes wrong while the body of `reply` is read."""
    try:
        yield
    except requests.RequestException as error:
        raise peer_error(error, reply.url) from error


def json_object(reply: requests.Response) -> JsonObject:
    """The body of `reply`, which must be a JSON object.

    Raises:
        PeerRefusedError: it is something else, such as the page of a proxy.
    """
    body = reply.content
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _not_understood(reply) from error
    if not isinstance(document, dict):
        raise _not_understood(reply)
    return document


def understood(reader: Callable[[], T], path: str) -> T:
    """What `reader` makes of an answer; it must not take the node's mistake for the caller's.

    Raises:
        PeerRefusedError: the answer lacks a member, or one is of the wrong kind.
    """
    try:
        return reader()
    except InvalidDocumentError as error:
        raise PeerRefusedError(
            f"the answer to {path} is not understood: {error.detail} at {error.pointer or '/'}"
        ) from error


def peer_error(error: requests.RequestException, url: str) -> PeerError:
    """Our name for a failure below HTTP."""
    if isinstance(error, requests.exceptions.SSLError):
        reason = (
            "its certificate is not trusted; verify='<file>' names another authority to trust"
            if "CERTIFICATE_VERIFY_FAILED" in str(error)
            else "it does not speak TLS as it should"
        )
        return PeerRefusedError(f"no secure connection to {url}: {reason}", url=url)
    if isinstance(error, requests.Timeout):
        return PeerUnavailableError(f"no answer in time from {url}", url=url)
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return PeerUnavailableError(f"the connection to {url} failed or was cut", url=url)
    return PeerRefusedError(f"{url} cannot be used: {error}", url=url)


def _not_understood(reply: requests.Response) -> PeerRefusedError:
    kind = reply.headers.get("Content-Type", "nothing in particular")
    return PeerRefusedError(
        f"{reply.url} answered with {kind}, not with a JSON object: is this the address of a node?",
        url=reply.url,
    )
