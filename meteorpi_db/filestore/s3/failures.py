"""What an S3 service refuses, in the project's errors.

As everywhere in a store, nothing here gives "missing": :mod:`.bucket` does so itself, when the service
really said that there is no such key.

Source: S-106 of the storage contract.
"""

from __future__ import annotations

from types import TracebackType

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from meteorpi_model.errors import MeteorError, StoreFullError, TooLargeError, UnavailableError

BROKEN = (BotoCoreError, ResponseParserError, HTTPError, OSError)
"""What a connection raises that breaks, or never comes about."""

_FULL = frozenset(
    {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientCapacity"}
    | {"StorageFull", "TooManyBuckets", "InsufficientStorage", "507"}
)
_DENIED = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "403"}
    | {"AllAccessDisabled", "AccountProblem", "401"}
)


def code_of(error: ClientError) -> str:
    """The code of the service, or the status where an answer has no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """The HTTP status of the answer, 0 when it had none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def from_client_error(error: ClientError, doing: str, **context: object) -> MeteorError:
    """The project's error for an answer of the service."""
    code = code_of(error)
    if code in _FULL or status_of(error) == 507:
        return StoreFullError(f"no room in the S3 store to {doing}", **context)
    if code == "EntityTooLarge":
        return TooLargeError("larger than the S3 service takes", **context)
    if code in _DENIED:
        return UnavailableError(f"the S3 service does not let this node {doing} ({code})", **context)
    return UnavailableError(f"the S3 service cannot {doing} ({code or status_of(error)})", **context)


def from_broken(error: Exception, doing: str, **context: object) -> MeteorError:
    """The project's error for an answer that never came, or not to its end."""
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return UnavailableError(f"there are no credentials for the S3 service to {doing}", **context)
    return UnavailableError(f"the S3 service does not answer to {doing}: {type(error).__name__}", **context)


class asking:  # noqa: N801 - reads as the function it is to whoever writes `with asking(...)`
    """Turn what a request raises into the project's error.

    Args:
        doing: what is asked for, as in "read content".
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
        if isinstance(error, ClientError):
            raise from_client_error(error, self._doing, **self._context) from error
        if isinstance(error, BROKEN):
            raise from_broken(error, self._doing, **self._context) from error
