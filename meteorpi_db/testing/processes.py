"""A database server of one's own: its directory, its account, and its process from start to end."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

from meteorpi_model.errors import ConfigurationError, UnavailableError

START_SECONDS = 30.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.02
LOOPBACK = "127.0.0.1"
_SERVER_PORTS: Final = range(15_000, 30_000)
_TRIES: Final = 100
# Debian keeps daemons outside an ordinary account's PATH.
PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def free_port() -> int:
    """Give a TCP port of the loopback interface that nothing listens on at this moment.

    It is below those that the system gives to outgoing connections: one of these might take it before the
    server does that it is meant for.
    """
    for port in random.SystemRandom().sample(_SERVER_PORTS, k=_TRIES):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
    raise UnavailableError("no TCP port is free")


def find_program(name: str, package: str, *, places: Sequence[str] = ()) -> Path:
    """Find the program `name`.

    Args:
        name: file name of the program.
        package: Debian package that brings it, for the error.
        places: glob patterns, relative to the root directory, of directories to look in as well; where
            several match, the one that sorts last (the newest version) is taken.

    Raises:
        ConfigurationError: it is not installed; names the package that cures it.
    """
    found = shutil.which(name, path=PROGRAM_PATH)
    if found:
        return Path(found)
    candidates = [
        path for place in places for path in sorted(Path("/").glob(f"{place}/{name}"), reverse=True)
    ]
    if not candidates:
        raise ConfigurationError(f"{name} is not installed: apt-get install {package}", program=name)
    return candidates[0]


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until `condition` holds.

    Raises:
        UnavailableError: it did not hold within `seconds`; `what` says what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise UnavailableError(f"{what} did not happen within {seconds:g} seconds")
        time.sleep(POLL_SECONDS)


class PrivateServer(ABC):
    """A server that belongs to whoever made it: nothing of the system's own service is touched.

    Use it as a context manager, or call `start` and `close`. Everything it writes is in one directory; one it
    made itself goes away with `close`. Database servers refuse to run as root, so root starts them as a
    service account.

    Args:
        directory: where it keeps its files; None makes a directory below the system's temporary one.
            For root every parent must be open to others (mode o+x).
        port: TCP port on the loopback interface; None takes a free one.
    """

    name: ClassVar[str]
    accounts: ClassVar[tuple[str, ...]] = ()  # in order of preference; only root needs one
    runs_as_root: ClassVar[bool] = False  # of programs that do not mind, and lie where only root may look
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    start_seconds: ClassVar[float] = START_SECONDS
    stop_seconds: ClassVar[float] = STOP_SECONDS

    def __init__(self, directory: Path | None = None, *, port: int | None = None) -> None:
        self._owns_directory = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix=f"meteorpi-{self.name}-"))
        self.port = port or free_port()
        self.account = self._choose_account()
        self._process: subprocess.Popen[bytes] | None = None
        self.make_directory(self.directory)

    @abstractmethod
    def prepare(self) -> None:
        """Create what the server needs on disk; called before every start, must notice what is there."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command line of the server process, which must stay in the foreground."""

    def environment(self) -> dict[str, str]:
        """The whole environment of the server and its tools; nothing is inherited."""
        return {"PATH": PROGRAM_PATH, "LC_ALL": "C.UTF-8"}

    @property
    def last_words(self) -> str:
        """The end of what it wrote, for errors: what ends or refuses usually says why."""
        log = self.directory / "log"
        return log.read_text(errors="replace")[-2000:].strip() if log.exists() else ""

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The server's first process.

        Raises:
            UnavailableError: it is not started.
        """
        if self._process is None:
            raise UnavailableError(f"{self.name} is not started")
        return self._process

    def start(self) -> Self:
        """Start it and wait until it takes connections.

        Raises:
            ConfigurationError: a program is missing, or a directory is closed to the service account.
            UnavailableError: the port is taken, or it ended or did not listen in time; the detail ends with
                its output.
        """
        if self._process is not None:
            return self
        self._require_open_parents()
        if self._is_listening():
            raise UnavailableError(f"port {self.port} is taken by another process", port=self.port)
        self.prepare()
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment(),
                cwd=self.directory,
                user=self.account and self.account.pw_uid,
                group=self.account and self.account.pw_gid,
                extra_groups=[] if self.account else None,
                start_new_session=True,  # an interrupt at the terminal is for the tests, which then stop us
            )
        try:
            wait_until(self._is_ready, self.start_seconds, f"start of {self.name}")
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """End it in good order; after `stop_seconds` by force. A stopped server may be started again."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End it at once, as a power cut would: nothing is flushed, nobody is told."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start on the same port with the same files."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers, as behind a dead link."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        self._signal_all(signal.SIGCONT)

    def close(self) -> None:
        """Stop it and remove its directory, if it made that itself."""
        self.stop()
        if self._owns_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def make_directory(self, path: Path) -> Path:
        """Make `path`, with parents, as a directory of the server's account."""
        path.mkdir(parents=True, exist_ok=True)
        self.give(path)
        path.chmod(0o755)
        return path

    def give(self, path: Path) -> None:
        """Make the server's account the owner of `path`; nothing to do unless root."""
        if self.account:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def run(self, command: Sequence[str | Path], text: str | None = None) -> str:
        """Run one of the server's tools as its account, with `text` as input, and give its output.

        Raises:
            UnavailableError: it failed; the detail holds its output.
        """
        done = subprocess.run(
            [str(part) for part in command],
            check=False,
            input=text or "",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment(),
            cwd=self.directory,
            user=self.account and self.account.pw_uid,
            group=self.account and self.account.pw_gid,
            extra_groups=[] if self.account else None,
        )
        if done.returncode:
            raise UnavailableError(f"{Path(command[0]).name} failed: {done.stdout.strip()}")
        return done.stdout

    def _choose_account(self) -> pwd.struct_passwd | None:
        if self.runs_as_root or os.geteuid() != 0 or not _can_change_account():
            return None
        known = {entry.pw_name: entry for entry in pwd.getpwall()}
        return next(known[name] for name in (*self.accounts, "nobody") if name in known)

    def _require_open_parents(self) -> None:
        for parent in self.directory.resolve().parents if self.account else ():
            if not parent.stat().st_mode & 0o001:
                raise ConfigurationError(
                    f"{self.name} cannot reach {self.directory}: {parent} is closed to others",
                    path=str(parent),
                )

    def _is_ready(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            self._process = None
            raise UnavailableError(f"{self.name} ended while starting: {self.last_words}")
        return self._is_listening()

    def _is_listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((LOOPBACK, self.port)) == 0

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        tree = list(process_tree(process.pid))
        if number is signal.SIGKILL:
            send_signal(tree, signal.SIGKILL)
        else:
            send_signal(tree, signal.SIGCONT)  # a paused process would never see the next one
            process.send_signal(number)
        try:
            process.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            send_signal(list(process_tree(process.pid)), signal.SIGKILL)
            process.wait()

    def _signal_all(self, number: signal.Signals) -> None:
        if self._process is not None:
            send_signal(list(process_tree(self._process.pid)), number)


def _can_change_account() -> bool:
    """False in a user namespace that knows one account only, where root is an ordinary user in disguise."""
    return Path("/proc/self/uid_map").read_text().split()[-1] != "1"


def process_tree(pid: int) -> Iterator[int]:
    """Give `pid` and the ids of all its descendants that are alive, parents first."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it ended meanwhile
        return
    for child in children:
        yield from process_tree(int(child))


def send_signal(pids: Sequence[int], number: signal.Signals) -> None:
    """Send signal `number` to each process; one that has ended meanwhile is left out."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
