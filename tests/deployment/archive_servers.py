"""The archive server without a node, and web servers in front of it, by the samples of ``wsgi/``."""

from __future__ import annotations

import pwd
import sys
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_db.connections import open_database
from meteorpi_db.migrations import ensure_schema
from meteorpi_db.testing.processes import LOOPBACK, PrivateServer, find_program
from meteorpi_model.errors import ConfigurationError
from tests.archive.own_server import make_photos
from tests.deployment.deployed import REPOSITORY, SCRIPTS, is_checkout_open
from tests.deployment.samples import sample, without_lines
from tests.deployment.servers import APACHE_MODULES, NGINX_FRAME

APACHE_FRAME = """\
ServerRoot {directory}
PidFile {directory}/apache.pid
DefaultRuntimeDir {directory}
ErrorLog {directory}/error.log
ServerName localhost
Listen {address}:{port}
{modules}
LogFormat "%h %l %u %t \\"%r\\" %>s %O" combined
"""
APACHE_NAMES = ("mpm_event", "authz_core", "proxy", "proxy_http", "headers")


class ArchiveServer(PrivateServer):
    """``wsgi/archive.py`` under gunicorn with threads, with one slot for downloads.

    Attributes:
        secret: of a client.
    """

    name: ClassVar[str] = "archive"
    accounts: ClassVar[tuple[str, ...]] = ("www-data",)
    stop_seconds: ClassVar[float] = 40.0

    def __init__(self) -> None:
        super().__init__()
        self.secret = ""

    def prepare(self) -> None:
        """Make directories to offer, the database and a client; once."""
        make_photos(self.directory / "photos")
        with closing(open_database(self._database)) as transactions:
            ensure_schema(transactions, create=True)
            self.secret = ArchiveRegister(transactions).add_client("portal")
        for path in self.directory.iterdir():
            self.give(path)

    def command(self) -> list[str]:
        """As the sample says, on the loopback interface."""
        return [
            *(sys.executable, "-m", "gunicorn", f"--bind={LOOPBACK}:{self.port}", "--worker-class=gthread"),
            *("--threads=12", "--no-control-socket", "--graceful-timeout=30"),
            *(f"--pythonpath={SCRIPTS}", "archive:application"),
        ]

    def environment(self) -> dict[str, str]:
        """Settings under all of their names."""
        return super().environment() | {
            "PYTHONPATH": str(REPOSITORY),
            "METEORPI_CONFIG": "",
            "METEORPI_TRUSTED_PROXY": LOOPBACK,
            "METEORPI_ARCHIVE_DB_URL": f"sqlite:///{self._database}",
            "METEORPI_ARCHIVE_WAIT_PING": "1",
            "METEORPI_ARCHIVE_SLOT_LEASE": "300",  # however long a test takes
            "FPX_NO_QUEUE": "False",
            "FPX_SIMULTANEOURS_DOWNLOADS_LIMIT": "1",
            "STORAGE_PATH": str(self.directory / "photos"),
        }

    @property
    def _database(self) -> Path:
        return self.directory / "own.db"

    def _choose_account(self) -> pwd.struct_passwd | None:
        return super()._choose_account() if is_checkout_open() else None


class ArchiveFront(PrivateServer):
    """A web server in front of it.

    Args:
        behind: the port of what is behind.
    """

    accounts: ClassVar[tuple[str, ...]] = ("www-data",)
    stop_seconds: ClassVar[float] = 40.0

    def __init__(self, behind: int) -> None:
        super().__init__()
        self.behind = behind

    @property
    def url(self) -> str:
        """Address of the site, without a slash at its end."""
        return f"http://{LOOPBACK}:{self.port}"


class NginxFront(ArchiveFront):
    """nginx, by ``wsgi/archive-nginx.conf``, in the clear."""

    name: ClassVar[str] = "nginx"

    def __init__(self, behind: int) -> None:
        self._program = find_program("nginx", "nginx-light")
        super().__init__(behind)

    def prepare(self) -> None:
        """Write the configuration."""
        text = sample(
            "archive-nginx.conf",
            {
                "127.0.0.1:8080": f"{LOOPBACK}:{self.behind}",
                "listen 443 ssl;": f"listen {LOOPBACK}:{self.port};",
            },
        )
        (self.directory / "site.conf").write_text(without_lines(text, "ssl_"))
        (self.directory / "nginx.conf").write_text(NGINX_FRAME.format(directory=self.directory))

    def command(self) -> list[str]:
        """In the foreground; without ``-e`` it would warn about a log that is not ours."""
        conf, log = str(self.directory / "nginx.conf"), str(self.directory / "error.log")
        return [str(self._program), "-p", str(self.directory), "-c", conf, "-e", log]


class ApacheFront(ArchiveFront):
    """Apache, by ``wsgi/archive-apache.conf``, in the clear."""

    name: ClassVar[str] = "apache"

    def __init__(self, behind: int) -> None:
        self._program = find_program("apache2", "apache2")
        for module in APACHE_NAMES:
            if not (APACHE_MODULES / f"mod_{module}.so").exists():
                raise ConfigurationError(f"mod_{module} is missing: tools/system-packages apache")
        super().__init__(behind)

    def prepare(self) -> None:
        """Write the configuration."""
        loading = (f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so" for name in APACHE_NAMES)
        frame = APACHE_FRAME.format(
            directory=self.directory, address=LOOPBACK, port=self.port, modules="\n".join(loading)
        )
        text = sample(
            "archive-apache.conf",
            {"127.0.0.1:8080": f"{LOOPBACK}:{self.behind}", "*:443": f"*:{self.port}"},
        )
        (self.directory / "apache.conf").write_text(frame + without_lines(text, "SSL"))

    def command(self) -> list[str]:
        """In the foreground."""
        return [str(self._program), "-f", str(self.directory / "apache.conf"), "-DFOREGROUND"]

    def environment(self) -> dict[str, str]:
        """Debian's envvars bring the directory of the logs."""
        return super().environment() | {"APACHE_LOG_DIR": str(self.directory)}


FRONTS: dict[str, type[ArchiveFront]] = {front.name: front for front in (NginxFront, ApacheFront)}
"""The web servers that have a sample configuration, by name."""
