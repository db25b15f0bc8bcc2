"""What an application has to know of the web server in front of it: the address as it was sent, and offload.

Every server decodes and tidies addresses in its own way: Apache and LigHTTPD merge slashes and resolve dots
even where they were percent-encoded, and Apache takes the address for the path of a file, which must not be
longer than 4,095 characters. Both also tell what was sent, so that the application can read it as it does
everywhere else.

*Offload* means that the web server sends the content of a file, named to it by a header of the answer. One
that does not know the header would hand it on to the caller, with the path and without the content. So the
header is used only where both agree: the setting ``file_offload``, and for each request the web server, by a
variable that callers cannot set (``METEORPI_OFFLOAD``) or, from the trusted proxy only, by a header.

Source:
    The sample configurations in ``wsgi/``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote_to_bytes

from meteorpi_server.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

OFFLOAD_VARIABLE: Final = "METEORPI_OFFLOAD"
"""Variable of a request with which the web server says what it can do, such as ``x-sendfile``."""

OFFLOAD_HEADER: Final = "X-Meteorpi-Offload"
"""Header of a request with which the trusted proxy says the same."""

PREFIX_HEADER: Final = "X-Forwarded-Prefix"
"""Header of a request with which the trusted proxy says what it took away at the front of the path."""

CONNECTION: Final = "meteorpi.socket"
"""Where the environment of a request has the connection that it came over, in a server of our own."""

GIVE_AWAY: Final = "meteorpi.give_away"
"""Where it has what to call when a duplicate of that connection is used for something else."""

INTERNAL_PREFIX: Final = "/_meteorpi_files"
"""Where nginx keeps the contents of files, out of the reach of callers: this, and the path."""

_OFFLOAD_KEY: Final = "HTTP_" + OFFLOAD_HEADER.upper().replace("-", "_")
_PREFIX_KEY: Final = "HTTP_" + PREFIX_HEADER.upper().replace("-", "_")
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")


def behind_web_server(application: WSGIApplication, settings: Settings) -> WSGIApplication:
    """`application` for a script that a web server starts, whichever that is."""
    # The path that a proxy took away is put in front last: nobody else knows of it.
    return with_address_as_sent(believing_proxy(application, settings.trusted_proxy))


def with_address_as_sent(application: WSGIApplication) -> WSGIApplication:
    """`application` with the path that the caller sent, decoded once, wherever the server tells it.

    A path that the server mounted the application at (``SCRIPT_NAME``) stays apart.
    """

    def run(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        sent = _sent_path(environ.get("REQUEST_URI", ""))
        mount = environ.get("SCRIPT_NAME", "")
        if mount and environ.get("PATH_INFO") and sent.startswith(f"{mount}/"):
            environ["PATH_INFO"] = sent[len(mount) :]
        elif sent:
            environ["SCRIPT_NAME"], environ["PATH_INFO"] = "", sent
        return application(environ, start_response)

    return run


def believing_proxy(application: WSGIApplication, proxy: str) -> WSGIApplication:
    """`application` that learns from `proxy`, an address, and from nobody else: what that can do, and what it
    took away at the front of the path, so that links lead back through it."""

    def run(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        offer = environ.pop(_OFFLOAD_KEY, "")
        prefix = environ.pop(_PREFIX_KEY, "").rstrip("/")
        if proxy and environ.get("REMOTE_ADDR") == proxy:
            if offer:
                environ[OFFLOAD_VARIABLE] = offer
            if _PREFIX.fullmatch(prefix):
                environ["SCRIPT_NAME"] = prefix + environ.get("SCRIPT_NAME", "")
        return application(environ, start_response)

    return run


def offload_header(environ: WSGIEnvironment, settings: Settings, path: Path) -> tuple[str, str] | None:
    """The header that has the web server send the file at `path`.

    Returns:
        Name and value; None where that was not agreed on, or where `path` has characters that are
        percent-encoded in addresses: LigHTTPD and nginx decode the header, mod_xsendfile 0.12 does not.
    """
    return _header(environ, settings.file_offload, path, INTERNAL_PREFIX) if settings.file_offload else None


def any_offload_header(environ: WSGIEnvironment, path: Path, prefix: str) -> tuple[str, str] | None:
    """The header by which the web server in front, whichever it is, sends the file at `path`.

    Returns:
        Name and value; None where it offers none, or as by :func:`offload_header`. In front of the path that
        nginx is given stands `prefix`.
    """
    headers = (_header(environ, way, path, prefix) for way in ("x-accel-redirect", "x-sendfile"))
    return next((header for header in headers if header is not None), None)


def offers(environ: WSGIEnvironment, way: str) -> bool:
    """Whether the web server in front says that it can do this; several are set apart by spaces."""
    return way in environ.get(OFFLOAD_VARIABLE, "").split()


def _header(environ: WSGIEnvironment, way: str, path: Path, prefix: str) -> tuple[str, str] | None:
    name = str(path)
    if not offers(environ, way) or quote(name) != name:
        return None
    return ("X-Accel-Redirect", prefix + name) if way == "x-accel-redirect" else ("X-Sendfile", name)


def _sent_path(uri: str) -> str:
    """The path of a request target, as WSGI writes it; empty when there is none (RFC 9112 section 3.2)."""
    target = uri.partition("?")[0]
    if "://" in target and not target.startswith("/"):
        target = "/" + target.partition("://")[2].partition("/")[2]
    if not target.startswith("/"):
        return ""
    return unquote_to_bytes(target.encode("latin-1")).decode("latin-1")
