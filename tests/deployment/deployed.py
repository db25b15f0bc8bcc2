"""A node that is deployed: its data, its settings, a server in front, and what can be asked of all."""

from __future__ import annotations

import grp
import http.client
import json
import os
import pwd
import signal
import socket
import stat
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from meteorpi_db.testing.processes import LOOPBACK, START_SECONDS, PrivateServer, wait_until
from tests.system.certificates import Certificates

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = REPOSITORY / "wsgi"
_MARK = "DEPLOYMENT_DIRECTORY"
_CREATE = (
    "import os; from meteorpi_server.settings import Settings;"
    " Settings.load(os.environ).open_database(create=True).close()"
)


class DeployedNode(PrivateServer):
    """A node behind one of the servers that it may run under, with data of its own.

    Args:
        settings: settings of the node, beside those that say where its data are, as in the configuration
            file.
        processes: how many processes the application gets, where the server has such a choice.
        threads: how many requests each of them handles at a time.
        certificates: serve over TLS with these, as the sample configuration does; None serves in the clear.
        script: another WSGI script than the one in ``wsgi/``.

    Attributes:
        data: directory of the database and the file store.
        settings: settings of the node; those changed before a start are in force after it.
        exit_status: of the server's first process when it was last stopped, negative for a signal.
    """

    accounts: ClassVar[tuple[str, ...]] = ("www-data",)
    stop_seconds: ClassVar[float] = 40.0
    reload_signal: ClassVar[signal.Signals | None] = None

    def __init__(
        self,
        settings: Mapping[str, object] | None = None,
        *,
        processes: int = 2,
        threads: int = 4,
        certificates: Certificates | None = None,
        script: Path | None = None,
    ) -> None:
        super().__init__()
        self.data = self.make_directory(self.directory / "data")
        self.settings: dict[str, object] = {
            "db_path": f"sqlite:///{self.data}/meteorpi.db",
            "file_store": str(self.data / "files"),
            "url_path": "/api",
            "threads": threads,
        } | dict(settings or {})
        self.processes_wanted = processes
        self.threads = threads
        self.certificates = certificates
        self.script = script
        self.exit_status: int | None = None

    @property
    def url(self) -> str:
        """Address of the node's API, without a slash at its end."""
        return f"{'https' if self.certificates else 'http'}://{LOOPBACK}:{self.port}/api"

    @property
    def log(self) -> Path:
        """What the server and the application wrote to their standard streams."""
        return self.directory / "log"

    @property
    def config(self) -> Path:
        """The configuration file of the node, written before each start."""
        return self.directory / "meteorpi.toml"

    @abstractmethod
    def is_application(self, command: bytes) -> bool:
        """Whether a process with that command line (proc(5), separated by NUL) runs the application."""

    def prepare(self) -> None:
        """Write the settings and whatever configuration the server needs; create the database, once."""
        self.write_settings()
        if not (self.directory / "prepared").exists():
            self.run([sys.executable, "-c", _CREATE])
            (self.directory / "prepared").touch()

    def write_settings(self) -> None:
        """Write the configuration file of the node."""
        lines = (f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in self.settings.items())
        self.config.write_text("\n".join(lines) + "\n")

    def environment(self) -> dict[str, str]:
        """Where the settings are, and a mark by which processes are recognised."""
        return super().environment() | {
            "METEORPI_CONFIG": str(self.config),
            "PYTHONPATH": str(REPOSITORY),
            _MARK: str(self.directory),
        }

    def tool(self, *arguments: str, text: str | None = None) -> str:
        """What ``meteorpi`` prints with `arguments` and the node's settings, `text` being its input."""
        return self.run([sys.executable, "-m", "meteorpi_server.cli", *arguments], text)

    def add_account(self, user_id: str, password: str, *roles: str) -> None:
        """Let `user_id` log in; before the first start this also makes an embedded database."""
        self.write_settings()
        wanted = [word for role in roles for word in ("--role", role)]
        self.tool("users", "set", user_id, *wanted, "--password-file", "-", text=password)
        (self.directory / "prepared").touch()

    def processes(self) -> list[int]:
        """Ids of the processes that the application runs in, those that are on their way out included."""
        return [pid for pid in self.all_processes() if self.is_application(_read(pid, "cmdline"))]

    def all_processes(self) -> list[int]:
        """Ids of all processes of the server, orphans included."""
        mark = f"{_MARK}={self.directory}".encode()
        pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return sorted(pid for pid in pids if mark in _read(pid, "environ").split(b"\0"))

    def reload(self) -> None:
        """Have the application started anew without closing the port, where the server can do so.

        Comes back when every process was replaced and the new ones answer.
        """
        if self.reload_signal is None:
            self.restart()
            return
        old = set(self.processes())
        self.process.send_signal(self.reload_signal)
        wait_until(lambda: not old & set(self.processes()), self.stop_seconds, "end of the old processes")
        wait_until(self.answers, START_SECONDS, "answer of the new processes")

    def stop(self) -> None:
        """End it in good order, and wait for all of its processes to be gone."""
        process = self._process
        super().stop()
        if process is not None:
            self.exit_status = process.returncode
            wait_until(lambda: not self.all_processes(), self.stop_seconds, "end of all processes")

    def answers(self) -> bool:
        """Whether the application answers."""
        connection: http.client.HTTPConnection
        if self.certificates:
            context = self.certificates.client_context()
            connection = http.client.HTTPSConnection(LOOPBACK, self.port, timeout=10, context=context)
        else:
            connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10)
        try:
            connection.request("GET", "/api/cameras")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def memory_bytes(self) -> int:
        """Memory that all processes have at present (``VmRSS``), together."""
        return sum(_kibibytes(pid, "VmRSS") for pid in self.all_processes()) * 1024

    def peak_memory_bytes(self) -> int:
        """The sum of the most that each of them ever had since :meth:`forget_peaks` (``VmHWM``)."""
        return sum(_kibibytes(pid, "VmHWM") for pid in self.all_processes()) * 1024

    def forget_peaks(self) -> None:
        """Let peaks begin at what is in use now (proc(5), ``clear_refs``)."""
        for pid in self.all_processes():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def open_files(self) -> list[str]:
        """What the processes hold open, as proc(5) names it: paths, ``socket:[...]`` and the like."""
        return [link for pid in self.all_processes() for link in _links(pid)]

    def has_open(self, connection: str) -> bool:
        """Whether a process holds content, or its end of a connection, as :func:`far_end` names it."""
        return any(name == connection or f"{self.data}/files/" in name for name in self.open_files())

    def _is_ready(self) -> bool:
        return super()._is_ready() and self.answers()

    @property
    def user(self) -> str:
        """The account that the server runs as."""
        return self.account.pw_name if self.account else pwd.getpwuid(os.geteuid()).pw_name

    @property
    def group(self) -> str:
        """The group that the server runs as."""
        return grp.getgrgid(self.account.pw_gid if self.account else os.getegid()).gr_name

    def _choose_account(self) -> pwd.struct_passwd | None:
        """None also where no other account could read the code: only Apache insists on one."""
        return super()._choose_account() if is_checkout_open() else None


def far_end(connection: socket.socket) -> str | None:
    """The other end of a connection on this machine, as proc(5) names it; None before it is accepted."""
    places = [f"0100007F:{port:04X}" for port in (connection.getpeername()[1], connection.getsockname()[1])]
    for line in Path("/proc/net/tcp").read_text().splitlines():
        fields = line.split()
        if fields[1:3] == places and fields[9] != "0":
            return f"socket:[{fields[9]}]"
    return None


def is_checkout_open() -> bool:
    """Whether a service account can read the code and the interpreter."""
    places = (REPOSITORY, Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve())
    parents = {parent for place in places for parent in (place, *place.parents)}
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in parents)


def _read(pid: int, name: str) -> bytes:
    """A file of a process in proc(5); nothing once it has ended, or when it belongs to somebody else."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def _links(pid: int) -> Iterator[str]:
    """What the descriptors of a process lead to; those that are closed meanwhile are left out."""
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                yield str(entry.readlink())


def _kibibytes(pid: int, name: str) -> int:
    lines = _read(pid, "status").decode().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)
