"""What an application learns of the web server in front: addresses as sent, and offers to send files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meteorpi_server.fronting import (
    INTERNAL_PREFIX,
    behind_web_server,
    believing_proxy,
    offload_header,
    with_address_as_sent,
)
from meteorpi_server.settings import Settings

PATH = Path("/var/lib/meteorpi/files/0123")


def seen(wrap: Any, environ: dict[str, str]) -> dict[str, Any]:
    """The environ that reaches the application through `wrap`."""
    found: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        found.update(environ)
        return []

    wrap(application)(dict(environ), None)
    return found


@pytest.mark.contract("issue-3.2/search-paths")
@pytest.mark.parametrize(
    ("given", "script", "path"),
    [
        # as LigHTTPD tidies it
        (("/api/a%2F%2Fb/../c?x=%2F", "", "/api/a/c"), "", "/api/a//b/../c"),
        # as WSGIScriptAliasMatch leaves it
        (("/api/files", "/api/files", ""), "", "/api/files"),
        # mounted below a path of the server's own
        (("/node/api/a%252Fb", "/node", "/api/a%2Fb"), "/node", "/api/a%2Fb"),
        (("http://host:80/api/x?y", "", "/api/x"), "", "/api/x"),
        (("/%E2%98%84", "", "/?"), "", "/\xe2\x98\x84"),
        (("*", "", "*"), "", "*"),
        (("", "/node", "/api"), "/node", "/api"),
    ],
)
def test_path_is_what_the_caller_sent(given: tuple[str, str, str], script: str, path: str) -> None:
    environ = dict(zip(("REQUEST_URI", "SCRIPT_NAME", "PATH_INFO"), given, strict=True))

    found = seen(with_address_as_sent, environ)

    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == (script, path)


@pytest.mark.contract("issue-3.1/offload")
@pytest.mark.parametrize(
    ("proxy", "address", "offer"),
    [
        ("127.0.0.1", "127.0.0.1", "x-accel-redirect"),
        ("127.0.0.1", "192.0.2.1", None),
        ("", "127.0.0.1", None),
    ],
    ids=["proxy", "stranger", "no-proxy"],
)
def test_offers_are_taken_from_the_trusted_proxy_only(proxy: str, address: str, offer: str | None) -> None:
    environ = {"HTTP_X_METEORPI_OFFLOAD": "x-accel-redirect", "REMOTE_ADDR": address}

    for found in (
        seen(lambda application: believing_proxy(application, proxy), environ),
        seen(lambda application: behind_web_server(application, Settings(trusted_proxy=proxy)), environ),
    ):
        assert found.get("METEORPI_OFFLOAD") == offer


@pytest.mark.contract("archive-3.1/attach")
@pytest.mark.parametrize(
    ("address", "said", "script"),
    [
        ("127.0.0.1", "/site/files", "/site/files"),
        ("127.0.0.1", "/files/", "/files"),
        ("127.0.0.1", "files", ""),
        ("127.0.0.1", "//elsewhere.example", ""),
        ("127.0.0.1", "/a b", ""),
        ("192.0.2.1", "/files", ""),
    ],
)
def test_prefix_is_taken_from_the_trusted_proxy_only(address: str, said: str, script: str) -> None:
    environ = {"HTTP_X_FORWARDED_PREFIX": said, "REMOTE_ADDR": address, "REQUEST_URI": "/archive/"}
    settings = Settings(trusted_proxy="127.0.0.1")

    found = seen(lambda application: behind_web_server(application, settings), environ)

    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == (script, "/archive/")
    assert "HTTP_X_FORWARDED_PREFIX" not in found


@pytest.mark.contract("issue-3.1/offload")
@pytest.mark.parametrize(
    ("setting", "offer", "path", "header"),
    [
        ("x-sendfile", "x-sendfile", PATH, ("X-Sendfile", str(PATH))),
        ("x-accel-redirect", "x-accel-redirect", PATH, ("X-Accel-Redirect", f"{INTERNAL_PREFIX}{PATH}")),
        ("x-sendfile", "mod_zip x-sendfile", PATH, ("X-Sendfile", str(PATH))),
        ("x-sendfile", None, PATH, None),
        ("x-sendfile", "x-accel-redirect", PATH, None),
        ("", "x-sendfile", PATH, None),
        # 25 in hexadecimal is a percent sign: who decodes it finds another file
        ("x-sendfile", "x-sendfile", Path("/files%2541"), None),
        ("x-accel-redirect", "x-accel-redirect", Path("/with space"), None),
        ("x-sendfile", "x-sendfile", Path("/line\r\nX-Other: break"), None),
    ],
)
def test_contents_are_left_to_the_web_server_where_both_agree(
    setting: str, offer: str | None, path: Path, header: tuple[str, str] | None
) -> None:
    environ: dict[str, Any] = {} if offer is None else {"METEORPI_OFFLOAD": offer}

    assert offload_header(environ, Settings(file_offload=setting), path) == header
