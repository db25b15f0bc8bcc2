"""Whose turn it is: first come, first served for each owner, and the owners in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class Waiting:
    """A ticket that waits.

    Attributes:
        ticket_id: which one.
        owner: key of whoever made it; all that nobody made have one owner.
        number: grows; of its arrival.
    """

    ticket_id: UUID
    owner: str
    number: int


def in_order(waiting: Iterable[Waiting], turns: Mapping[str, int]) -> list[Waiting]:
    """`waiting` in the order in which they will be served if nobody else comes.

    The owner whose last turn is longest ago is next, with its oldest ticket; of owners without one, the first
    that came. Each turn makes its owner the last, so nobody is passed twice by the same owner, or starves.

    Args:
        waiting: all that wait.
        turns: number of the last turn of each owner that had one; they grow.
    """
    of_owner: dict[str, list[Waiting]] = {}
    for one in sorted(waiting, key=lambda found: found.number):
        of_owner.setdefault(one.owner, []).append(one)
    places = [
        ((position, turns.get(owner, 0), tickets[0].number), one)
        for owner, tickets in of_owner.items()
        for position, one in enumerate(tickets)
    ]
    return [one for _, one in sorted(places, key=lambda place: place[0])]


def next_of(
    waiting: Iterable[Waiting], turns: Mapping[str, int], may_be_served: Callable[[str], bool]
) -> Waiting | None:
    """Who is next of the owners that may be served; None when there is none."""
    return next((one for one in in_order(waiting, turns) if may_be_served(one.owner)), None)
