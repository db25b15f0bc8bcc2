"""Waking processes through the database server: LISTEN and NOTIFY, which PostgreSQL alone has.

Source:
    K-153 of the storage contract; PostgreSQL manual, NOTIFY: what is said is heard once its transaction is
    committed, by sessions of the same database. It is said after the change itself, in a transaction of its
    own, since sessions that say something wait for each other when they commit.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any, Final

from sqlalchemy import exc, func, select, text

from meteorpi_db.connections import Transactions
from meteorpi_model.errors import UnavailableError

CHANNEL: Final = "meteorpi_block"

_WAIT_SECONDS: Final = 0.25


def can_notify(transactions: Transactions) -> bool:
    """Whether the database can wake anybody."""
    return transactions.backend.name == "postgresql"


def notify(transactions: Transactions, words: Sequence[str]) -> None:
    """Say `words`, none longer than a few thousand bytes, to all who listen.

    Raises:
        UnavailableError: the database does not answer.
    """
    transactions.write(lambda c: [c.execute(select(func.pg_notify(CHANNEL, word))) for word in words])


def heard(transactions: Transactions) -> Generator[str | None, None, None]:
    """What is said from now on, over a connection outside the pool, closed with this.

    Gives:
        None as soon as nothing is missed any more, then what is said, and None often in between.

    Raises:
        UnavailableError: the connection broke, or there is none.
    """
    engine = transactions.engine.execution_options(isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.detach()
            connection.execute(text(f"LISTEN {CHANNEL}"))
            driver: Any = connection.connection.dbapi_connection
            yield None
            while True:
                with closing(driver.notifies(timeout=_WAIT_SECONDS)) as notes:
                    for note in notes:
                        yield note.payload
                yield None
    except (exc.SQLAlchemyError, engine.dialect.loaded_dbapi.Error) as error:
        raise UnavailableError("the database server does not wake us any more") from error
