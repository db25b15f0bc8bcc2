"""``meteorpi doctor --url`` through real web servers: as the samples configure them, and changed."""

from __future__ import annotations

import datetime
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_server.cli.doctor.finding import Finding
from meteorpi_server.cli.doctor.site import Site
from meteorpi_server.cli.doctor.website import check_website
from tests.deployment.deployed import DeployedNode
from tests.deployment.servers import ApacheNode, LighttpdNode, NginxNode
from tests.system.certificates import Certificates, make_certificates

_ADD_FILE = """
import datetime, os
from meteorpi_db import NewFile
from meteorpi_model import CameraStatus, Location, NSString, Orientation
from meteorpi_server.settings import Settings
with Settings.load(os.environ).open_database() as db:
    time = datetime.datetime(2015, 4, 1)
    status = CameraStatus("lens", "sensor", None, "Farm", Orientation(50, 180), Location(52.2, 0.1), "camera")
    db.update_camera_status(status, time, "camera")
    new = NewFile(mime_type="image/png", semantic_type=NSString("timelapse/frame"), file_time=time,
                  camera_id="camera")
    db.add_file(new, [b"a picture of the sky"])
"""
OFFLOAD = {"apache": "x-sendfile", "lighttpd": "x-sendfile", "nginx": "x-accel-redirect"}


class ChangedApache(ApacheNode):
    """Apache with the traps that its own defaults are."""

    changes: ClassVar[Mapping[str, str]] = {
        "WSGIPassAuthorization On": "WSGIPassAuthorization Off",
        "WSGIChunkedRequest On": "WSGIChunkedRequest Off",
        "AllowEncodedSlashes On": "AllowEncodedSlashes Off",
        r"LimitRequestBody \d+": "LimitRequestBody 100000000",
        "XSendFile On": "XSendFile Off",
        "ServerTokens Prod": "ServerTokens Full",
    }

    def _site(self) -> str:
        return changed(super()._site(), self.changes)


class OverridingApache(ChangedApache):
    """Apache that puts its own pages in the place of the node's answers."""

    changes: ClassVar[Mapping[str, str]] = {"WSGIErrorOverride Off": "WSGIErrorOverride On"}


class ChangedLighttpd(LighttpdNode):
    """LigHTTPD as others are tempted to set it."""

    changes: ClassVar[Mapping[str, str]] = {
        "server.stream-request-body = 0": "server.stream-request-body = 1",
        r"server.max-request-size = \d+": "server.max-request-size = 1000",
        '"x-sendfile" => "enable"': '"x-sendfile" => "disable"',
        'server.tag = ""': 'server.tag = "lighttpd/1.4"',
    }

    def _configuration(self) -> str:
        return changed(super()._configuration(), self.changes)


class ChangedNginx(NginxNode):
    """nginx with its own defaults, and a proxy_pass that looks harmless."""

    changes: ClassVar[Mapping[str, str]] = {
        "client_max_body_size 0": "client_max_body_size 1m",
        "proxy_buffering off;": "proxy_buffering off; proxy_intercept_errors on; error_page 404 /404.html;",
        "location /api {": "location /api/ {",
        r"proxy_set_header X-Forwarded-For \$\w+": "proxy_set_header X-Forwarded-For 192.0.2.1",
        "server_tokens off;": "",
    }

    def _site(self) -> str:
        text = changed(super()._site(), self.changes)
        return text.replace(f"{self.behind.port};", f"{self.behind.port}/api/;")


def changed(text: str, changes: Mapping[str, str]) -> str:
    """The configuration with other lines; the keys are regular expressions, and have to be there."""
    for old, new in changes.items():
        text, count = re.subn(old, new.replace("\\", r"\\"), text)
        assert count, f"there is no {old!r} any more"
    return text


def look(node: DeployedNode, certificates: Certificates | None) -> list[Finding]:
    """What the doctor says about a node that holds a file."""
    node.run([sys.executable, "-c", _ADD_FILE])
    site = Site(node.url, None if certificates is None else str(certificates.authority))
    with MeteorDatabase(node.data / "meteorpi.db", node.data / "files") as database:
        return list(check_website(site, database))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A directory that the account of a server can read."""
    with tempfile.TemporaryDirectory(prefix="meteorpi-doctor-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.contract("issue-3.4/doctor-web")
@pytest.mark.parametrize("server", [ApacheNode, LighttpdNode, NginxNode])
def test_samples_need_no_doctor(
    deploy: Callable[..., DeployedNode], server: type[DeployedNode], open_folder: Path
) -> None:
    certificates = make_certificates(open_folder, valid_for=datetime.timedelta(days=90))
    node = deploy(server, {"file_offload": OFFLOAD[server.name]}, certificates=certificates)

    findings = look(node, certificates)

    assert [each for each in findings if each.level in ("warning", "error")] == []
    assert {each.subject for each in findings} >= {"tls", "authorization", "contents", "ranges", "addresses"}


@pytest.mark.contract("issue-3.4/doctor-web")
@pytest.mark.parametrize(
    ("server", "remedies"),
    [
        pytest.param(
            ChangedApache,
            {
                "authorization": "WSGIPassAuthorization On",
                "chunked uploads": "WSGIChunkedRequest On",
                "encoded slashes": "AllowEncodedSlashes On",
                "upload size": "LimitRequestBody of",
                "contents": "XSendFile On",
                "headers": "ServerTokens Prod",
            },
            id="apache",
        ),
        pytest.param(
            OverridingApache, {"problem documents": "WSGIErrorOverride Off"}, id="apache-error-pages"
        ),
        pytest.param(
            ChangedLighttpd,
            {
                "chunked uploads": "server.stream-request-body = 0",
                "upload size": "server.max-request-size of",
                "contents": '"x-sendfile" => "enable"',
                "headers": 'server.tag = ""',
            },
            id="lighttpd",
        ),
        pytest.param(
            ChangedNginx,
            {
                "upload size": "client_max_body_size 0",
                "problem documents": "proxy_intercept_errors off",
                "encoded slashes": "proxy_pass without a path",
                "addresses": "trusted_proxy",
                "headers": "server_tokens off",
            },
            id="nginx",
        ),
    ],
)
def test_each_changed_line_is_found_with_its_remedy(
    deploy: Callable[..., DeployedNode], server: type[DeployedNode], remedies: dict[str, str]
) -> None:
    node = deploy(server, {"file_offload": OFFLOAD[server.name]})

    findings = look(node, None)

    for subject, remedy in remedies.items():
        found = [each for each in findings if each.subject == subject]
        assert any(remedy in each.remedy for each in found), found
