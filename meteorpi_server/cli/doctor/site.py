"""Speaking HTTP so exactly that what a web server in front does to a request can be seen in the answer."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any, Final
from urllib.parse import urlsplit

from meteorpi_model.errors import ConfigurationError

TIMEOUT_SECONDS: Final = 20.0
LONGEST_BODY: Final = 4 << 20
PROBLEM_TYPE: Final = "application/problem+json"


class SiteError(Exception):
    """No answer, or none that is HTTP; the text says why."""


@dataclass(frozen=True)
class Reply:
    """An answer.

    Attributes:
        status: of HTTP.
        headers: names in any case.
        body: as far as it is of interest.
    """

    status: int
    headers: Message
    body: bytes

    @property
    def problem(self) -> dict[str, Any] | None:
        """The problem document of a node; None when the answer is none."""
        if self.headers.get_content_type() != PROBLEM_TYPE:
            return None
        try:
            document = json.loads(self.body)
        except ValueError:
            return None
        return document if isinstance(document, dict) and "code" in document else None

    @property
    def server(self) -> str:
        """How the web server calls itself, in small letters."""
        return str(self.headers.get("Server", "")).lower()

    def json(self) -> dict[str, Any]:
        """The body, if it is a JSON object; else an empty one."""
        try:
            document = json.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    def __str__(self) -> str:
        code = (self.problem or {}).get("code")
        return f"{self.status} {code}" if code else f"{self.status} {self.headers.get_content_type()}"


class Site:
    """A node as its callers see it. Redirects are not followed, and each request has its own connection.

    Args:
        url: where the routes begin, such as ``https://meteorpi.example.org/api``.
        ca_file: certificates to trust in place of those of the system.

    Raises:
        ConfigurationError: `url` is none of HTTP.
    """

    def __init__(self, url: str, ca_file: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"--url: {url!r} does not begin with http:// or https:// and a host")
        self.url = url.rstrip("/")
        self.host: str = parts.hostname
        self.is_encrypted = parts.scheme == "https"
        self.port: int = parts.port or (443 if self.is_encrypted else 80)
        self.path = parts.path.rstrip("/")
        self._context = ssl.create_default_context(cafile=ca_file) if self.is_encrypted else None

    def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> Reply:
        """The answer to one request.

        Args:
            method: of HTTP.
            path: below the URL; sent exactly as it is.
            headers: more than the usual ones.
            body: bytes are sent with their length, anything else in chunks.

        Raises:
            SiteError: there is none.
        """
        connection = self._connection()
        is_chunked = body is not None and not isinstance(body, bytes)
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                # Who refuses a body may close before all of it has come; the refusal is there to be read.
                connection.request(
                    method, self.path + path, body, dict(headers or {}), encode_chunked=is_chunked
                )
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read(LONGEST_BODY))
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise SiteError(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()

    def announce_upload(self, path: str, size_bytes: int, headers: Mapping[str, str]) -> Reply | None:
        """Announce a body of that size without sending any of it; None when nothing is said before it comes.

        Raises:
            SiteError: the connection failed.
        """
        connection = self._connection()
        try:
            connection.putrequest("POST", self.path + path)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.putheader("Expect", "100-continue")
            connection.putheader("Content-Length", str(size_bytes))
            connection.endheaders()
            connection.sock.settimeout(3.0)
            return _first_answer(connection.sock)
        except TimeoutError:
            return None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise SiteError(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()

    def open_tls(self) -> tuple[dict[str, Any], str]:
        """The certificate of the server, found valid, and the version of the protocol.

        Raises:
            ssl.SSLError: the server cannot be trusted.
            OSError: it does not answer.
        """
        assert self._context is not None  # the caller has looked
        with (
            socket.create_connection((self.host, self.port), TIMEOUT_SECONDS) as plain,
            self._context.wrap_socket(plain, server_hostname=self.host) as encrypted,
        ):
            return dict(encrypted.getpeercert() or {}), str(encrypted.version())

    def own_address(self) -> str:
        """The address of this machine that the site's machine sees.

        Raises:
            OSError: it does not answer.
        """
        with socket.create_connection((self.host, self.port), TIMEOUT_SECONDS) as connection:
            return str(connection.getsockname()[0])

    def _connection(self) -> http.client.HTTPConnection:
        if self._context is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_SECONDS)
        return http.client.HTTPSConnection(
            self.host, self.port, timeout=TIMEOUT_SECONDS, context=self._context
        )


def _first_answer(connection: socket.socket) -> Reply | None:
    """The answer that begins on a connection; None when it is an invitation to go on, or silence.

    The reader of the standard library skips invitations, and waits for what comes behind them.
    """
    stream = connection.makefile("rb")
    with stream:
        line = stream.readline(1000).split()
        if len(line) < 2 or line[1] == b"100":
            return None
        headers = http.client.parse_headers(stream)
        length = int(headers.get("Content-Length", 0))
        return Reply(int(line[1]), headers, stream.read(min(length, LONGEST_BODY)))
