"""A machine of its own that boots the real systemd: namespaces over a copy of our files, kept in memory.

Nothing that happens in it is seen outside: it has its own processes, network, mounts and devices, and what is
written goes to memory. Needs root.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from meteorpi_db.testing.processes import PROGRAM_PATH, process_tree, wait_until
from tests.components import absent

REPOSITORY = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = "/opt/meteorpi/venv"
START_SECONDS = 60.0
SYSTEMD = Path("/lib/systemd/systemd")
TOOLS = ("unshare", "nsenter", "pivot_root", "ip")
NAMESPACES = ("--mount", "--pid", "--net", "--cgroup", "--uts", "--ipc")

# In the new namespaces. Its devices are its own, and /proc/sys is closed: the kernel is everybody's.
BOOT = """\
set -eu
cd "$1"
mount --make-rprivate /
mount -t tmpfs tmpfs layers
mkdir layers/upper layers/work root
mount -t overlay overlay -o lowerdir=/,upperdir=layers/upper,workdir=layers/work root
cd root
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for place in run tmp mnt; do mount -t tmpfs tmpfs $place; done
mount -t tmpfs -o mode=755 tmpfs dev
for device in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 dev/${device%:*} c 1 ${device#*:}; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ip link set lo up
units=etc/systemd/system
rm -rf $units opt/meteorpi etc/meteorpi var/lib/meteorpi
mkdir -p $units opt/meteorpi usr/lib/sysusers.d usr/lib/tmpfiles.d etc/meteorpi
printf '[Unit]\\nRequires=basic.target\\nAfter=basic.target\\n' >$units/test.target
ln -s test.target $units/default.target
for unit in sysctl modules-load binfmt tmpfiles-setup-dev remount-fs udevd; do
    ln -s /dev/null $units/systemd-$unit.service
done
cp -r "$2"/deploy/systemd/*.service "$2"/deploy/systemd/*.timer "$2"/deploy/systemd/*.d $units
cp "$2"/deploy/systemd/sysusers.conf usr/lib/sysusers.d/meteorpi.conf
cp "$2"/deploy/systemd/tmpfiles.conf usr/lib/tmpfiles.d/meteorpi.conf
: >etc/machine-id
# The account of the services must be able to read the interpreter and the checkout.
ln -s "$3" opt/meteorpi/venv
for place in "$2" "$3"; do
    while [ "$place" != / ]; do chmod o+x ".$place"; place=$(dirname "$place"); done
done
mkdir mnt/old
pivot_root . mnt/old
umount -l /mnt/old
# As systemd itself does where it thinks that it is no guest: credentials are mounted from another namespace.
mount --make-rshared /
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --show-status=0
"""


class Machine:
    """A machine that runs; see :func:`machine`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in the machine, as its root, and give what it prints."""
        done = subprocess.run(
            ["nsenter", f"--target={self._pid}", "--all", "--wdns=/", "--", *command],
            check=False,
            env={"PATH": PROGRAM_PATH, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}\n{self.log()}"
        return done.stdout

    def python(self, program: str) -> str:
        """Run a program with the interpreter of the node."""
        return self.run(f"{ENVIRONMENT}/bin/python", "-c", program)

    def write(self, path: str, text: str) -> None:
        """Make a file, and the directories above it."""
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && printf %s "$2" >"$1"', "sh", path, text)

    def show(self, unit: str, *names: str) -> Mapping[str, str]:
        """Properties of a unit, as systemd sees them."""
        lines = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names)).splitlines()
        return dict(line.split("=", 1) for line in lines)

    def log(self) -> str:
        """What the services have written."""
        return self.run("journalctl", "--no-pager", "--unit=meteorpi-*", check=False)


@contextmanager
def machine() -> Iterator[Machine]:
    """A machine with the units of the checkout installed and none of them started."""
    missing = [name for name in TOOLS if shutil.which(name) is None]
    if missing or not SYSTEMD.exists():
        absent(f"a machine of its own needs systemd, util-linux and iproute2: no {missing or SYSTEMD}")
    directory = Path(tempfile.mkdtemp(prefix="meteorpi-machine-"))
    (directory / "layers").mkdir()
    arguments = [str(directory), str(REPOSITORY), sys.prefix]
    with (directory / "log").open("wb") as log:
        boot = subprocess.Popen(
            ["unshare", *NAMESPACES, "--fork", "--kill-child", "sh", "-c", BOOT, "sh", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield _booted(boot, directory / "log")
    finally:
        boot.kill()  # its child, the first process of the machine, goes with it, and all others with that
        boot.wait()
        shutil.rmtree(directory)


def _booted(boot: subprocess.Popen[bytes], log: Path) -> Machine:
    def is_up() -> bool:
        if boot.poll() is not None:
            pytest.skip(f"this host lets nobody make such a machine: {log.read_text(errors='replace')}")
        pids = list(process_tree(boot.pid))
        if len(pids) < 2 or _name_of(pids[1]) != "systemd":
            return False
        # Degraded is what systemd calls itself when a unit of the host's, none of ours, has failed.
        state = Machine(pids[1]).run("systemctl", "is-system-running", check=False).strip()
        return state in {"running", "degraded"}

    wait_until(is_up, START_SECONDS, "start of the machine")
    return Machine(list(process_tree(boot.pid))[1])


def _name_of(pid: int) -> str:
    """What a process runs; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
