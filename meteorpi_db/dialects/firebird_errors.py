"""What the status codes of Firebird mean (Firebird 3.0 Language Reference, appendix B)."""

from __future__ import annotations

import fdb

from meteorpi_db.dialects.base import (
    ConnectionLostError,
    ConstraintError,
    DuplicateKeyError,
    TransactionConflictError,
)
from meteorpi_db.dialects.firebird_fdb import LOST_CONNECTION, gds_code
from meteorpi_model.errors import (
    ConfigurationError,
    InvalidDocumentError,
    MeteorError,
    SchemaVersionError,
    StoreFullError,
    UnavailableError,
)

_DUPLICATE_KEY = {335544665, 335544349}
_BROKEN_RULE = {335544347, 335544558, 335544466}  # not null, check, foreign key
_CONFLICT = {335544336, 335544345, 335544451, 335544510}  # deadlock, lock, update conflict, lock timeout
_UNFIT_VALUE = 335544321  # numeric overflow, text truncated
_SCHEMA_CHANGE = 335544351
_INPUT_OUTPUT = 335544344
_UNKNOWN_USER = 335544472
_NO_PRIVILEGE = 335544352
_UNUSABLE_FILE = {335544323, 335544405, 335544379}  # not a database, wrong structure version
_EMPTY_WORDS = ("Error while", "Services/", "SQLCODE", "SQL error code")
_CONFLICT_WORDS = ("deadlock", "lock conflict", "concurrent", "is in use", "update conflicts")


class ExistsAlreadyError(MeteorError):
    """A table or index of that name has been created meanwhile."""


def meaning_of(error: BaseException, label: str) -> MeteorError | None:
    """The error of ours for one of the driver's; None for any other.

    Args:
        error: as raised by fdb.
        label: of the database, for messages.
    """
    code = gds_code(error)
    words = words_of(error)
    if code in _DUPLICATE_KEY:
        return DuplicateKeyError(f"a row with this key exists: {words}")
    if code in _BROKEN_RULE:
        return ConstraintError(f"a row breaks a rule of the schema: {words}")
    if code in _CONFLICT:
        return TransactionConflictError(f"another transaction was faster: {words}")
    if code in LOST_CONNECTION:
        return ConnectionLostError(f"the database server does not answer: {words}")
    if code == _SCHEMA_CHANGE:
        return _meaning_of_schema_change(words)
    return _meaning_of_refusal(error, code, words, label)


def _meaning_of_schema_change(words: str) -> MeteorError | None:
    if "already exists" in words or "violation of PRIMARY or UNIQUE KEY" in words:
        return ExistsAlreadyError(words)
    if any(found in words for found in _CONFLICT_WORDS):
        return TransactionConflictError(f"the table is in use: {words}")
    return None


def _meaning_of_refusal(error: BaseException, code: int | None, words: str, label: str) -> MeteorError | None:
    if code == _UNFIT_VALUE or (isinstance(error, fdb.ProgrammingError) and "numeric overflow" in str(error)):
        return InvalidDocumentError(f"a value does not fit the database: {words}")
    if is_missing_file(error):
        return SchemaVersionError(f"there is no database {label}: run `meteorpi init`")
    if code == _INPUT_OUTPUT and "No space left" in words:
        return StoreFullError("the disk that holds the database is full")
    if code == _INPUT_OUTPUT or code in _UNUSABLE_FILE:
        return UnavailableError(f"the database file cannot be used: {words}")
    if code in (_UNKNOWN_USER, _NO_PRIVILEGE):
        return ConfigurationError(f"the database server refuses the user: {words}")
    return None


def meaning_or_default(error: fdb.DatabaseError, label: str) -> MeteorError:
    """As :func:`meaning_of`, with an error for anything unforeseen."""
    return meaning_of(error, label) or UnavailableError(f"the database cannot be used: {words_of(error)}")


def is_missing_file(error: BaseException) -> bool:
    """Whether the database does not exist where the name points to."""
    return gds_code(error) == _INPUT_OUTPUT and "No such file" in str(error)


def is_existing_file(error: BaseException) -> bool:
    """Whether a database to be created exists."""
    return gds_code(error) == _INPUT_OUTPUT and "File exists" in str(error)


def words_of(error: BaseException) -> str:
    """The server's own words in one line, without the statement."""
    message = str(error.args[0]) if error.args else str(error)
    lines = [line.strip().removeprefix("- ") for line in message.split("\n")]
    return "; ".join(line for line in lines if not line.startswith(_EMPTY_WORDS)) or message
