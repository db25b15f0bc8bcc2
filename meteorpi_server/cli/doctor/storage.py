"""Disks: room, inodes, permissions, and kinds of storage that forget or wear out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from meteorpi_db import MeteorDatabase
from meteorpi_db.dialects.choice import parse_db_path
from meteorpi_model.errors import MeteorError
from meteorpi_server.cli.doctor.finding import Finding, Level, guarded
from meteorpi_server.cli.node_plan import is_on_server
from meteorpi_server.cli.output import size_text
from meteorpi_server.settings import Settings

LITTLE_BYTES: Final = 2 * 10**9
LEAST_BYTES: Final = 2 * 10**8
LITTLE_INODES: Final = 0.05
"""Part of the inodes that should be free; contents are a file each."""

_MOUNTS: Final = Path("/proc/self/mountinfo")
_FORGETFUL: Final = frozenset({"tmpfs", "ramfs"})
_NETWORKED: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs"})
_OWN_TO_CONTAINER: Final = "overlay"
_CARD: Final = "/dev/mmcblk"


@dataclass(frozen=True)
class Mount:
    """A file system in its place.

    Attributes:
        point: where it is mounted.
        kind: such as ``ext4``.
        source: the device, where there is one.
    """

    point: Path
    kind: str
    source: str


def check_store(database: MeteorDatabase) -> Iterator[Finding]:
    """Whether contents can be written durably, read and deleted."""
    try:
        database.store.check(probe=True)
        database.stores.blocks.check(probe=True)
    except MeteorError as error:
        yield Finding(
            "error", "file store", error.detail, "let the node's account write there, or mend the disk"
        )
        return
    is_durable = "durable" in database.store.capabilities or "local-path" in database.store.capabilities
    yield Finding("ok", "file store", f"{database.stores.blocks.location} can be written and read")
    if not is_durable:
        yield Finding("warning", "file store", "forgets everything when the process ends", "name a directory")


def check_space(database: MeteorDatabase) -> Iterator[Finding]:
    """Whether a store elsewhere has room for more; that of a local one is looked at as its disk."""
    if store_folder(str(database.store.location)) is None:
        free = database.store.free_bytes()
        yield Finding("note", "space", "the file store cannot tell") if free is None else space_finding(free)


def check_disks(settings: Settings) -> Iterator[Finding]:
    """The file systems that store and database are on; neither has to be open."""
    for subject, path in places(settings).items():
        yield from guarded(check_place, subject, path, mount_of(path, mounts()))


def check_place(subject: str, path: Path, mount: Mount | None) -> Iterator[Finding]:
    """What is known about the file system that holds `path`."""
    facts = os.statvfs(path)
    if facts.f_flag & os.ST_RDONLY:
        yield Finding(
            "error",
            subject,
            f"{path} is mounted read-only",
            "a damaged card or disk ends like that: look at `dmesg`, check it with fsck, replace it; "
            "else mount -o remount,rw, and ReadWritePaths= in the unit",
        )
    yield space_finding(facts.f_bavail * facts.f_frsize, f" at {path}")
    if facts.f_files and facts.f_favail < LITTLE_INODES * facts.f_files:
        detail = f"{facts.f_favail} of {facts.f_files} inodes left at {path}"
        remedy = "each content needs one: meteorpi prune, or a file system with more (mkfs.ext4 -i 16384)"
        yield Finding("warning", subject, detail, remedy)
    if mount is not None:
        yield _kind_finding(subject, path, mount)


def space_finding(free_bytes: int, where: str = "") -> Finding:
    """Whether there is room for more."""
    if free_bytes >= LITTLE_BYTES:
        return Finding("ok", "space", f"{size_text(free_bytes)} left{where}")
    level: Level = "error" if free_bytes < LEAST_BYTES else "warning"
    remedy = "make room: meteorpi prune, meteorpi delete; meteorpi report disk shows what is held"
    return Finding(level, "space", f"{size_text(free_bytes)} left{where}", remedy)


def check_database_file(settings: Settings) -> Iterator[Finding]:
    """Whether this account may write the database file, and its log beside it, and strangers may not."""
    path = database_file(settings.db_path)
    if path is None or not path.exists():
        return
    missing = [str(each) for each in (path, path.parent) if not os.access(each, os.W_OK)]
    if missing:
        remedy = (
            f"give them to the node's account; the log is made beside the file: chown meteorpi {path.parent}"
        )
        yield Finding("error", "database file", f"cannot be written: {', '.join(missing)}", remedy)
    mode = _mode_for_strangers(path)
    if mode & 0o002:
        yield Finding("error", "database file", f"everybody may change {path}", f"chmod o= {path}")
    elif mode & 0o004:
        detail = f"everybody on this machine can read {path}, with the hashes of passwords in it"
        yield Finding("note", "database file", detail, f"chmod o= {path}")
    elif not missing:
        yield Finding("ok", "database file", f"{path} can be written, and not be read by everybody")


def _mode_for_strangers(path: Path) -> int:
    """What the mode of a file lets every account do: nothing, where a directory above it is closed."""
    if not all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents):
        return 0
    return path.stat().st_mode & stat.S_IRWXO


def places(settings: Settings) -> dict[str, Path]:
    """The directories of this machine that matter, by what they are for; a missing one by its parent."""
    found = {"disk of the store": store_folder(settings.file_store)}
    path = database_file(settings.db_path)
    found["disk of the database"] = None if path is None else path.parent
    return {subject: _existing(place) for subject, place in found.items() if place is not None}


def store_folder(location: str) -> Path | None:
    """The directory of a file store; None when it is elsewhere."""
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(unquote(parts.path)).absolute()
    return None if parts.scheme else Path(location).expanduser().absolute()


def database_file(db_path: str) -> Path | None:
    """The file of a database whose engine runs in the process of the node; None for those of servers."""
    return None if is_on_server(db_path) else Path(str(parse_db_path(db_path).database))


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.exists())


def mounts() -> list[Mount]:
    """What is mounted where; empty on systems that do not tell.

    Source:
        proc_pid_mountinfo(5); spaces in names are written ``\\040``.
    """
    if not _MOUNTS.exists():
        return []
    found = []
    for line in _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].replace("\\040", " ")
        kind, source = after.split(" ")[:2]
        found.append(Mount(Path(point), kind, source))
    return found


def mount_of(path: Path, known: list[Mount]) -> Mount | None:
    """The file system that `path` is on: the last that was mounted at the longest part of it."""
    resolved = path.resolve()
    fitting = [mount for mount in known if resolved.is_relative_to(mount.point)]
    return max(reversed(fitting), key=lambda mount: len(mount.point.parts), default=None)


def _kind_finding(subject: str, path: Path, mount: Mount) -> Finding:
    if mount.kind in _FORGETFUL:
        detail = f"{path} is in memory ({mount.kind}): a restart of the machine forgets it"
        return Finding("warning", subject, detail, "keep data on a disk, such as /var/lib/meteorpi")
    if mount.kind in _NETWORKED:
        detail = f"{path} is on another machine ({mount.kind})"
        if subject == "disk of the database":
            return Finding("error", subject, f"{detail}; its locks cannot be relied on", "use a local disk")
        return Finding("note", subject, detail, "the node waits when that machine does")
    if mount.kind == _OWN_TO_CONTAINER:
        detail = f"{path} is in the layer of a container: removing the container removes it"
        return Finding("note", subject, detail, "mount a volume there, if this is to stay")
    if mount.source.startswith(_CARD):
        remedy = "a USB disk lasts longer; keep a backup elsewhere, and mount with noatime"
        return Finding("note", subject, f"{path} is on a memory card, which wears out by writing", remedy)
    return Finding("ok", subject, f"{path} is on {mount.source} ({mount.kind})")
