"""What the operating system refuses, in the project's errors.

One rule matters more than the rest: an error is never reported as "missing", because a peer or an
exporter that reads "missing" concludes that data was lost. So nothing here gives ``NotFoundError``; the
places that look for content raise it themselves, when the answer really was "no such name".

Source: S-106 of the storage contract.
"""

from __future__ import annotations

import errno
from types import TracebackType

from meteorpi_model.errors import MeteorError, StoreFullError, TooLargeError, UnavailableError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What is said where no room is left."""

NO_LINKS = frozenset(
    {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK}
)
"""What :func:`os.link` says where hard links do not exist: FAT, some network and phone file systems."""

NO_FLUSH = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""What flushing says where it does not exist; anything else is a failed write."""

NO_LOCKS = frozenset({errno.ENOLCK, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""What :func:`fcntl.flock` says where locks do not exist."""


def from_os_error(error: OSError, doing: str, **context: object) -> MeteorError:
    """The project's error for `error`, which happened while `doing` ("write content").

    The path stays in the chained exception: details travel to other nodes, paths must not.
    """
    if error.errno in FULL:
        return StoreFullError(f"no room in the file store to {doing}", **context)
    if error.errno == errno.EFBIG:
        return TooLargeError("larger than the file system of the file store can hold", **context)
    return UnavailableError(f"the file store cannot {doing}: {error.strerror or error}", **context)


class storage_errors:  # noqa: N801 - reads as the function it is to whoever writes `with storage_errors(...)`
    """Turn an ``OSError`` of the block into the project's error.

    Wrap only calls of the operating system: the chunks of a caller come from outside the store, and what
    goes wrong there must leave unchanged. A class, since a generator would cost as much as opening a file.

    Args:
        doing: what, as in "read content".
        context: named values that belong to the error.
    """

    __slots__ = ("_context", "_doing")

    def __init__(self, doing: str, **context: object) -> None:
        self._doing = doing
        self._context = context

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise from_os_error(error, self._doing, **self._context) from error
