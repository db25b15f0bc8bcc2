"""The sample configurations as printed: TLS, the way there from plain HTTP, and what is not to be seen."""

from __future__ import annotations

import re
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from meteorpi_db.testing.processes import LOOPBACK
from tests.deployment.caller import Caller, Sizable, content_path
from tests.deployment.conftest import PASSWORD, USER
from tests.deployment.servers import ApacheNode, LighttpdNode, NginxNode
from tests.system.certificates import Certificates, make_certificates

AnyServer = ApacheNode | LighttpdNode | NginxNode
OFFLOAD = {"apache": "x-sendfile", "lighttpd": "x-sendfile", "nginx": "x-accel-redirect"}


@pytest.fixture
def certificates() -> Iterator[Certificates]:
    """In a directory that a server's account can read, which `tmp_path` is not."""
    with tempfile.TemporaryDirectory(prefix="meteorpi-tls-") as directory:
        Path(directory).chmod(0o755)
        yield make_certificates(Path(directory))


@pytest.mark.contract("issue-3.1/apache", "issue-3.1/lighttpd", "issue-3.1/nginx")
@pytest.mark.parametrize("server", [ApacheNode, LighttpdNode, NginxNode], ids=lambda server: str(server.name))
def test_sample_serves_over_tls_and_leads_there(
    server: type[AnyServer], deploy: Callable[..., AnyServer], certificates: Certificates
) -> None:
    node = deploy(server, {"file_offload": OFFLOAD[server.name]}, certificates=certificates)
    node.add_account(USER, PASSWORD, "import", "user")
    caller = Caller(node)
    content = Sizable(b"encrypted on its way", blocks=1000)

    record = caller.import_file(content, chunked=True)
    reply = caller.get(content_path(record))

    assert reply.body == b"".join(content)
    assert reply.headers["Server"] in {None, "Apache", "nginx"}  # and no version
    assert not is_served(node.port, certificates, ssl.TLSVersion.TLSv1_1)
    assert is_served(node.port, certificates, ssl.TLSVersion.TLSv1_2)
    redirect = in_the_clear(node.redirect_port, "/api/files?limit=1")
    assert redirect.startswith(b"HTTP/1.1 301 ")
    assert re.search(rb"\r\n[Ll]ocation: https://[^\r]*/api/files\?limit=1\r\n", redirect)


@pytest.mark.contract("issue-3.1/apache", "issue-3.1/lighttpd", "issue-3.1/nginx")
@pytest.mark.parametrize("server", [ApacheNode, LighttpdNode, NginxNode], ids=lambda server: str(server.name))
def test_rest_of_the_site_lists_nothing(server: type[AnyServer], deploy: Callable[..., AnyServer]) -> None:
    node = deploy(server)

    for path in ("/", "/data/", "/wsgi/"):
        reply = in_the_clear(node.port, path)
        assert re.match(rb"HTTP/1\.1 40[34] ", reply), reply
        assert str(node.directory).encode() not in reply


def in_the_clear(port: int, path: str) -> bytes:
    with closing(socket.create_connection((LOOPBACK, port), timeout=60)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def is_served(port: int, certificates: Certificates, version: ssl.TLSVersion) -> bool:
    """Whether the server talks that version of TLS."""
    context = certificates.client_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # else this side would refuse the old ones
    is_old = version < ssl.TLSVersion.TLSv1_2
    with pytest.warns(DeprecationWarning, match="TLSv1_1") if is_old else nullcontext():
        context.minimum_version = context.maximum_version = version
    try:
        with (
            socket.create_connection((LOOPBACK, port), timeout=60) as connection,
            context.wrap_socket(connection, server_hostname=LOOPBACK),
        ):
            return True
    except (ssl.SSLError, ConnectionError):
        return False
