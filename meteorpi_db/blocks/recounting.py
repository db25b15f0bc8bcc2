"""What is used, counted from the objects, against the counters that every change keeps.

Counters are written by the same transactions as objects, so a difference is a defect, or somebody's hand in
the database.

Source: K-214 and `recount` in B.6 of the storage contract.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Column, Connection, MetaData, Table, func, select, update

from meteorpi_db import tables
from meteorpi_db.connections import Transactions

Kind = Literal["account", "prefix"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A counter that is wrong.

    Attributes:
        kind: whose it is.
        name: of the account or prefix.
        used, objects: bytes and number of objects by the counter.
        right_used, right_objects: by the objects.
    """

    kind: Kind
    name: str
    used: int
    objects: int
    right_used: int
    right_objects: int

    def as_dict(self) -> dict[str, object]:
        """For people and scripts."""
        return vars(self).copy()


def recount(transactions: Transactions, *, fix: bool = False) -> list[Difference]:
    """Compare all counters with the objects, as of one instant.

    Args:
        transactions: the database.
        fix: also set right what is wrong. Then everybody else's changes of objects wait.

    Returns:
        What was wrong, accounts first, each in order of names.
    """
    if fix:
        return transactions.write(lambda connection: recount_all(connection, tables.metadata))
    with transactions.reading() as connection:
        return list(_differences(connection, tables.metadata))


def recount_all(connection: Connection, metadata: MetaData) -> list[Difference]:
    """Set right every counter; gives what was wrong.

    Args:
        connection: of a writing transaction, which keeps others from changing objects until it ends.
        metadata: the tables, which may be those of an older schema.
    """
    account, prefix = metadata.tables["block_account"], metadata.tables["block_prefix"]
    # As `prefixes.take_turn` does, for everybody at once.
    connection.execute(update(account).values(turn=account.c.turn + 1))
    connection.execute(update(prefix).values(sequence=prefix.c.sequence))
    wrong = list(_differences(connection, metadata))
    keys = {"account": account.c.account_id, "prefix": prefix.c.name}
    for each in wrong:
        key = keys[each.kind]
        statement = update(key.table).where(key == each.name)
        connection.execute(statement.values(used=each.right_used, objects=each.right_objects))
    return wrong


def _differences(connection: Connection, metadata: MetaData) -> Iterator[Difference]:
    """Both numbers of all accounts, then of all prefixes, where they differ."""
    account, prefix = metadata.tables["block_account"], metadata.tables["block_prefix"]
    block = metadata.tables["block_object"]
    by_prefix = {
        name: (int(used), objects)
        for name, used, objects in connection.execute(
            select(block.c.prefix, func.sum(block.c.size_bytes), func.count()).group_by(block.c.prefix)
        )
    }
    by_account: dict[str, tuple[int, int]] = {}
    for name, owner in connection.execute(select(prefix.c.name, prefix.c.account_id)):
        if owner is not None:
            used, objects = by_account.get(owner, (0, 0))
            more_used, more_objects = by_prefix.get(name, (0, 0))
            by_account[owner] = used + more_used, objects + more_objects
    yield from _wrong(connection, "account", account, account.c.account_id, by_account)
    yield from _wrong(connection, "prefix", prefix, prefix.c.name, by_prefix)


def _wrong(
    connection: Connection, kind: Kind, table: Table, key: Column[Any], right: dict[str, tuple[int, int]]
) -> Iterator[Difference]:
    rows = connection.execute(select(key, table.c.used, table.c.objects).order_by(key)).all()
    for name, used, objects in rows:
        right_used, right_objects = right.get(name, (0, 0))
        if (used, objects) != (right_used, right_objects):
            yield Difference(
                kind=kind,
                name=name,
                used=used,
                objects=objects,
                right_used=right_used,
                right_objects=right_objects,
            )
