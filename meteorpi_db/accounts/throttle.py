"""Slowing down whoever guesses passwords: counted in the database, so that it holds across processes.

The first few failures cost nothing. Each further one doubles the time in which no attempt is looked at, up to
a limit; a success, or a quarter of an hour without attempts, forgets them all.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update

from meteorpi_db import limits, tables
from meteorpi_model.errors import TooManyAttemptsError

FREE_FAILURES = 5
LONGEST_PAUSE_SECONDS = 300
FORGOTTEN_AFTER_SECONDS = 900

_FAILURE = tables.login_failure


def check(connection: Connection, subject: str, now: int) -> None:
    """Return when an attempt may be looked at.

    Args:
        connection: to read with.
        subject: who tries, such as ``user:<id>`` or ``address:<ip>``.
        now: milliseconds.

    Raises:
        TooManyAttemptsError: not yet; says for how many seconds.
    """
    statement = select(_FAILURE.c.failures, _FAILURE.c.last_failure_at).where(
        _FAILURE.c.subject == _noted(subject)
    )
    row = connection.execute(statement).first()
    if row is None:
        return
    wait = row.last_failure_at + 1000 * _pause_seconds(row.failures) - now
    if wait > 0:
        raise TooManyAttemptsError("too many failed logins: try later", retry_after_seconds=-(-wait // 1000))


def _pause_seconds(failures: int) -> int:
    if failures < FREE_FAILURES:
        return 0
    return min(1 << min(failures - FREE_FAILURES, 16), LONGEST_PAUSE_SECONDS)


def record_failure(connection: Connection, subject: str, now: int) -> None:
    """Count a failed attempt."""
    name = _noted(subject)
    connection.execute(
        delete(_FAILURE).where(_FAILURE.c.last_failure_at < now - 1000 * FORGOTTEN_AFTER_SECONDS)
    )
    counted = update(_FAILURE).where(_FAILURE.c.subject == name)
    values = {"failures": _FAILURE.c.failures + 1, "last_failure_at": now}
    if not connection.execute(counted.values(values)).rowcount:
        connection.execute(insert(_FAILURE).values(subject=name, failures=1, last_failure_at=now))


def is_known(connection: Connection, subject: str) -> bool:
    """Whether failures of `subject` are counted."""
    statement = select(_FAILURE.c.failures).where(_FAILURE.c.subject == _noted(subject))
    return connection.execute(statement).first() is not None


def clear(connection: Connection, subject: str) -> None:
    """Forget the failures of `subject`."""
    connection.execute(delete(_FAILURE).where(_FAILURE.c.subject == _noted(subject)))


def _noted(subject: str) -> str:
    # The user id in it comes from whoever tries: it is made to fit, not refused.
    return limits.fitting_text(subject, tables.NAME_LENGTH)
