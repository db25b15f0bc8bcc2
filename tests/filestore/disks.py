"""Disks that fail, stop or forbid in the places where real ones do."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

from meteorpi_db.filestore import Disk


def os_error(code: int) -> OSError:
    """The exception that the operating system's `code` becomes."""
    return OSError(code, os.strerror(code))


class NoLinksDisk(Disk):
    """A file system without hard links, as FAT and some network mounts are."""

    def __init__(self, code: int = errno.EPERM, **options: Any) -> None:
        super().__init__(**options)
        self.code = code

    def link(self, source: Path, target: Path) -> None:
        raise os_error(self.code)


class FailingDisk(Disk):
    """A disk on which one step fails with `code`, from its `after`-th use on."""

    def __init__(self, step: str, code: int, *, after: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.step = step
        self.code = code
        self.left = after

    def _fail(self, step: str) -> None:
        if step == self.step:
            self.left -= 1
            if self.left < 0:
                raise os_error(self.code)

    def create(self, path: Path, *, exclusive: bool = True) -> int:
        self._fail("create")
        return super().create(path, exclusive=exclusive)

    def write(self, descriptor: int, block: bytes) -> None:
        self._fail("write")
        super().write(descriptor, block)

    def flush(self, descriptor: int) -> None:
        self._fail("flush")
        super().flush(descriptor)

    def flush_directory(self, path: Path) -> None:
        self._fail("flush_directory")
        super().flush_directory(path)

    def link(self, source: Path, target: Path) -> None:
        self._fail("link")
        super().link(source, target)


def _recorded(step: str) -> Any:
    def method(self: RecordingDisk, *arguments: Any, **options: Any) -> Any:
        self.reach(f"before {step}")
        result = getattr(Disk, step)(self, *arguments, **options)
        self.reach(f"after {step}")
        return result

    return method


class RecordingDisk(Disk):
    """Notes the moment before and after every step."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.moments: list[str] = []

    def reach(self, moment: str) -> None:
        self.moments.append(moment)

    @property
    def steps(self) -> list[str]:
        """The steps in the order they were done."""
        return [moment.removeprefix("after ") for moment in self.moments if moment.startswith("after ")]

    create = _recorded("create")
    lock = _recorded("lock")
    set_mode = _recorded("set_mode")
    flush = _recorded("flush")
    flush_directory = _recorded("flush_directory")
    make_directory = _recorded("make_directory")
    link = _recorded("link")
    rename = _recorded("rename")
    unlink = _recorded("unlink")

    def write(self, descriptor: int, block: bytes) -> None:
        half = len(block) // 2
        self.reach("before write")
        super().write(descriptor, block[:half])
        self.reach("within write")
        super().write(descriptor, block[half:])
        self.reach("after write")


class KillingDisk(RecordingDisk):
    """Kills the process, as SIGKILL does and without any clean-up, at the moment numbered `at`."""

    def __init__(self, at: int, **options: Any) -> None:
        super().__init__(**options)
        self.at = at

    def reach(self, moment: str) -> None:
        if len(self.moments) >= self.at:  # not "==": several threads may pass it together
            os.kill(os.getpid(), signal.SIGKILL)
        super().reach(moment)


class LinklessRecordingDisk(RecordingDisk):
    """Notes the moments of a file system without hard links."""

    link = NoLinksDisk.link
    code = errno.EPERM


class LinklessKillingDisk(KillingDisk):
    """Kills on a file system without hard links."""

    link = NoLinksDisk.link
    code = errno.EPERM
