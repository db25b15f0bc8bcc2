"""Every exception that MeteorPi raises on purpose.

::

    MeteorError
    ├── InvalidDocumentError (ValueError)    a document, search, id or argument cannot be read
    │   ├── UnknownStatusError               no camera status covers the entity
    │   └── UnknownEntityError               a referenced file, event or configuration is not held
    ├── NotAuthenticatedError (ValueError)   no credentials, or wrong ones
    ├── NotAllowedError                      known account without the right
    ├── TooManyAttemptsError                 logins of this account or address are throttled
    ├── NotFoundError                        what was asked for does not exist
    │   └── GoneError                        it did exist, and its time is over
    ├── ConflictError                        the same identity exists with other content
    ├── LockedError                          somebody else is at work on it
    ├── DigestMismatchError                  bytes do not have the announced digest
    │   ├── IncompleteBodyError              fewer (or more) bytes came than were announced
    │   └── ChecksumMismatchError            those of one request do not; those before them are kept
    ├── PreconditionFailedError              the object is not in the state that a request demands
    ├── QuotaReachedError                    an account has no room
    ├── TrafficReachedError                  of an account was read what may be read in a month
    ├── TooLargeError                        more bytes than the limit
    ├── CorruptContentError                  held content no longer has its recorded digest
    ├── BackupDamagedError                   a backup is not what was written
    ├── StoreFullError                       no room in the file store
    ├── UnavailableError                     database or store cannot answer now; try again
    │   ├── BusyError                        everything that could do it is in use
    │   └── AccountingUnavailableError       nobody can say now what an account may do
    ├── WorkStoppedError                     this process must stop what it does; nothing is wrong with it
    ├── ConfigurationError                   a setting or an installation step is missing or wrong
    │   └── SchemaVersionError               the database belongs to another version of the software
    └── PeerError                            talking to another node
        ├── PeerUnavailableError             no answer, or one that says "later"
        └── PeerRefusedError                 an answer that says "no"

``code`` is stable and travels on the wire as the problem code; ``retryable`` says whether the same
request may succeed later without being changed.
"""

from __future__ import annotations

from typing import ClassVar


class MeteorError(Exception):
    """Base of all deliberate errors.

    Args:
        detail: one sentence for a person, saying what to do where that is known.
        context: named values that belong to the error, such as ``entity_id``; no secrets.
    """

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, **context: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.context = context


class InvalidDocumentError(MeteorError, ValueError):
    """A document, search, identifier or argument cannot be read; nothing was changed.

    Args:
        detail: what is wrong.
        pointer: JSON pointer (RFC 6901) to the offending member, ``""`` for the whole document.
    """

    code = "invalid-document"

    def __init__(self, detail: str, *, pointer: str = "", **context: object) -> None:
        super().__init__(detail, **context)
        self.pointer = pointer

    def below(self, prefix: str) -> InvalidDocumentError:
        """The same error with its pointer moved below `prefix`, for readers of nested documents."""
        return type(self)(self.detail, pointer=f"{prefix}{self.pointer}", **self.context)


class UnknownStatusError(InvalidDocumentError):
    """No camera status covers the entity: register a status first."""

    code = "unknown-status"


class UnknownEntityError(InvalidDocumentError):
    """The document refers to a file, event or configuration that is not held here."""

    code = "unknown-entity"


class NotAuthenticatedError(MeteorError, ValueError):
    """No credentials, or wrong ones; deliberately the same for unknown user and wrong password."""

    code = "not-authenticated"


class NotAllowedError(MeteorError):
    """The account is known but lacks the role or the camera."""

    code = "not-allowed"


class TooManyAttemptsError(MeteorError):
    """Too many failed logins; `retry_after_seconds` says when the next one is looked at."""

    code = "too-many-attempts"
    retryable = True

    def __init__(self, detail: str, *, retry_after_seconds: int, **context: object) -> None:
        super().__init__(detail, **context)
        self.retry_after_seconds = retry_after_seconds


class NotFoundError(MeteorError):
    """What was asked for does not exist."""

    code = "not-found"


class GoneError(NotFoundError):
    """What was asked for did exist, and its time is over."""

    code = "gone"


class ConflictError(MeteorError):
    """The same identity exists with other content, or the change would break a rule."""

    code = "conflict"


class LockedError(MeteorError):
    """Somebody else is at work on it; the context has ``retry_after_seconds``."""

    code = "locked"
    retryable = True


class DigestMismatchError(MeteorError):
    """Bytes do not have the digest or size that was announced; nothing was stored."""

    code = "digest-mismatch"
    retryable = True


class IncompleteBodyError(DigestMismatchError):
    """The body ended early or ran over its announced length; nothing was stored."""

    code = "incomplete-body"


class ChecksumMismatchError(DigestMismatchError):
    """The bytes of one request of an upload do not have their checksum; they alone were discarded."""

    code = "checksum-mismatch"


class PreconditionFailedError(MeteorError):
    """A condition of the request does not hold; the context has the present ``tag`` where there is one."""

    code = "precondition-failed"


class QuotaReachedError(MeteorError):
    """An account, or a prefix, has no room for this upload.

    The context has ``quota``, ``size`` (used now) and ``requested`` in bytes, and ``prefix`` when that one is
    full.
    """

    code = "quota-reached"


class TrafficReachedError(MeteorError):
    """More of an account was read this month than may be; the context has ``quota`` and ``size`` in bytes."""

    code = "traffic-reached"


class TooLargeError(MeteorError):
    """More bytes than the limit allows."""

    code = "too-large"


class CorruptContentError(MeteorError):
    """Held content failed its verification and is not served until it is repaired."""

    code = "corrupt"
    retryable = True


class BackupDamagedError(MeteorError):
    """A backup, or a part of one, is missing or is not what was written; nothing was restored from it."""

    code = "backup-damaged"


class StoreFullError(MeteorError):
    """No room in the file store; nothing was stored."""

    code = "store-full"
    retryable = True


class UnavailableError(MeteorError):
    """Database or store cannot answer now; nothing was changed, the same request may be repeated."""

    code = "unavailable"
    retryable = True


class BusyError(UnavailableError):
    """Whatever is needed was in use for as long as is waited for it; nothing was changed."""

    code = "busy"


class AccountingUnavailableError(UnavailableError):
    """Nobody can say now whose credentials these are, or what the account may use.

    The context has ``retry_after_seconds``, when it is worth asking again.
    """

    code = "accounting-unavailable"


class WorkStoppedError(MeteorError):
    """This process must stop what it is doing: it is ending, or another one took over its lease."""

    code = "work-stopped"
    retryable = True


class ConfigurationError(MeteorError):
    """A setting or an installation step is missing or wrong; the detail says how to mend it."""

    code = "configuration"


class SchemaVersionError(ConfigurationError):
    """The database schema is newer than this software, or has not been created yet."""

    code = "schema-version"


class PeerError(MeteorError):
    """Talking to another node failed."""

    code = "peer"


class PeerUnavailableError(PeerError):
    """The peer gave no answer, or one that says "later"."""

    code = "peer-unavailable"
    retryable = True


class PeerRefusedError(PeerError):
    """The peer gave an answer that says "no", or one that is not understood."""

    code = "peer-refused"
