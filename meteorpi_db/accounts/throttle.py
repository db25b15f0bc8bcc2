"""Slowing down whoever guesses passwords: counted in the database, so that it holds across processes.

The first few failures cost nothing. Each further one doubles the time in which no attempt is looked at, up to
a limit; a success, or a quarter of an hour without attempts, forgets them all.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select, update

from meteorpi_db import limits, tables
from meteorpi_model.errors import TooManyAttemptsError

FREE_FAILURES = 5
LONGEST_PAUSE_SECONDS = 300
FORGOTTEN_AFTER_SECONDS = 900

_FAILURE = tables.login_failure


def check(connection: Connection, subjects: Sequence[str], now: int) -> frozenset[str]:
    """Return when an attempt of all of `subjects` may be looked at: those of them that have failed before.

    Args:
        connection: to read with.
        subjects: who tries, such as ``user:<id>`` and ``address:<ip>``.
        now: milliseconds.

    Raises:
        TooManyAttemptsError: not yet; says for how many seconds.
    """
    noted = {_noted(subject): subject for subject in subjects}
    rows = connection.execute(select(_FAILURE).where(_FAILURE.c.subject.in_(noted))).all()
    waits = [row.last_failure_at + 1000 * _pause_seconds(row.failures) - now for row in rows]
    wait = max(waits, default=0)
    if wait > 0:
        raise TooManyAttemptsError("too many failed logins: try later", retry_after_seconds=-(-wait // 1000))
    return frozenset(noted[row.subject] for row in rows)


def _pause_seconds(failures: int) -> int:
    if failures < FREE_FAILURES:
        return 0
    return min(1 << min(failures - FREE_FAILURES, 16), LONGEST_PAUSE_SECONDS)


def record_failure(connection: Connection, subjects: Sequence[str], now: int) -> None:
    """Count a failed attempt of each of `subjects`."""
    connection.execute(
        delete(_FAILURE).where(_FAILURE.c.last_failure_at < now - 1000 * FORGOTTEN_AFTER_SECONDS)
    )
    values = {"failures": _FAILURE.c.failures + 1, "last_failure_at": now}
    for name in sorted(map(_noted, subjects)):  # in one order everywhere: no deadlocks
        counted = update(_FAILURE).where(_FAILURE.c.subject == name)
        if not connection.execute(counted.values(values)).rowcount:
            connection.execute(insert(_FAILURE).values(subject=name, failures=1, last_failure_at=now))


def clear(connection: Connection, subject: str) -> None:
    """Forget the failures of `subject`."""
    connection.execute(delete(_FAILURE).where(_FAILURE.c.subject == _noted(subject)))


def _noted(subject: str) -> str:
    # The user id in it comes from whoever tries: it is made to fit, not refused.
    return limits.fitting_text(subject, tables.NAME_LENGTH)
