"""How fast archives are sent: token buckets for each one, each owner and all of them, fair among the active.

No threads and no clock here. Whoever wants to send asks for an amount, which is granted when every bucket
that it takes from has something. When several could go on, the archive goes that has had least since it came
(start-time fair queueing), however many connections it is fetched over; what one leaves the others take.

Source:
    Section 3.9 of the archive contract. P. Goyal, H. Vin, H. Cheng, "Start-time fair queueing", SIGCOMM 1996.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

BURST_SECONDS: Final = 0.5
"""So much of what nobody took is kept for later."""

PIECES_A_SECOND: Final = 4
"""As many times at least whoever sends comes up for air, to see that its reader has left."""

LEAST_PIECE_BYTES: Final = 1024


@dataclass(frozen=True, kw_only=True)
class RateLimits:
    """Bytes a second; 0 for any.

    Attributes:
        download: of one archive, over all of its connections.
        client: of all archives of one owner.
        total: of all archives.
    """

    download: float = 0.0
    client: float = 0.0
    total: float = 0.0

    @property
    def are_set(self) -> bool:
        """Whether there is any limit."""
        return bool(self.download or self.client or self.total)


@dataclass(frozen=True)
class Flow:
    """What bytes belong to.

    Attributes:
        link: what the archive is asked for by.
        owner: who made the link; empty for nobody, who has no limit as a client.
    """

    link: str
    owner: str


@dataclass(frozen=True)
class Shares:
    """How much of each limit is for this process, from 0 to 1; what is not named is wholly for it."""

    total: float = 1.0
    owners: Mapping[str, float] = field(default_factory=dict)
    links: Mapping[str, float] = field(default_factory=dict)


def shares_of(process: str, active: Iterable[tuple[str, Flow]]) -> Shares:
    """What is for one of several processes.

    Args:
        process: which one.
        active: process and flow of every connection, of all processes.
    """
    everywhere: Counter[Flow] = Counter()
    here: Counter[Flow] = Counter()
    for name, flow in active:
        everywhere[flow] += 1
        here[flow] += name == process
    parts = {flow: here[flow] / count for flow, count in everywhere.items()}
    owners: dict[str, list[float]] = {}
    for flow, part in parts.items():
        owners.setdefault(flow.owner, []).append(part)
    return Shares(
        total=_mean(parts.values()),
        owners={owner: _mean(found) for owner, found in owners.items()},
        links={flow.link: part for flow, part in parts.items()},
    )


def _mean(parts: Collection[float]) -> float:
    # Whoever is not counted yet sends as if it were alone, until everybody has looked again.
    return sum(parts) / len(parts) if any(parts) else 1.0


class _Bucket:
    """Bytes that may be sent; below zero after more was let through than was there."""

    def __init__(self, now: float) -> None:
        self._level = 0.0
        self._filled_at = now

    def fill(self, rate: float, now: float) -> None:
        """Add what has come since the last time."""
        self._level = min(self._level + rate * (now - self._filled_at), rate * BURST_SECONDS)
        self._filled_at = now

    def wait(self, rate: float) -> float:
        """Seconds until there is something."""
        return -self._level / rate if self._level <= -1 else 0.0  # parts of a byte are only rounding

    def take(self, count: int) -> None:
        """Let `count` bytes through."""
        self._level -= count


@dataclass(eq=False)
class Asked:
    """An amount that somebody wants to send; made by :meth:`RateSchedule.ask`.

    Attributes:
        flow: what it belongs to.
        count: bytes.
        arrived: virtual time of the schedule when it was asked for.
    """

    flow: Flow
    count: int
    arrived: float


class RateSchedule:
    """The buckets of one process, and who takes from them. Not safe for threads; times are seconds.

    Args:
        limits: of all processes together.

    Attributes:
        shares: what of it is for this process.
    """

    def __init__(self, limits: RateLimits) -> None:
        self.limits = limits
        self.shares = Shares()
        self._connections: Counter[Flow] = Counter()
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self._had: dict[str, float] = {}  # of each link: where it is in virtual time
        self._virtual = 0.0
        self._asked: list[Asked] = []

    def enter(self, flow: Flow) -> None:
        """Count one more connection."""
        self._connections[flow] += 1

    def leave(self, flow: Flow, now: float) -> None:
        """Count one connection less; what it has had too much stays noted until it is made up for."""
        self._connections[flow] -= 1
        if self._connections[flow] <= 0:
            del self._connections[flow]
        self._forget(now)

    def piece_bytes(self, flow: Flow) -> int | None:
        """The most that should be asked for at once; None for any amount."""
        of_owner = sum(each.owner == flow.owner for each in self._connections)
        divisors = {"download": 1, "client": max(1, of_owner), "total": max(1, len(self._connections))}
        rates = [rate / divisors[kind] for kind, _, rate in self._limits_of(flow)]
        return max(LEAST_PIECE_BYTES, int(min(rates) / PIECES_A_SECOND)) if rates else None

    def ask(self, flow: Flow, count: int) -> Asked:
        """Want to send `count` bytes."""
        asked = Asked(flow, count, self._virtual)
        self._asked.append(asked)
        return asked

    def withdraw(self, asked: Asked) -> None:
        """Want it no longer."""
        self._asked.remove(asked)

    def next(self, now: float) -> tuple[Asked | None, float]:
        """What is to be granted now, or None and the seconds until there is something."""
        waits = {id(each): self._wait(each.flow, now) for each in self._asked}
        ready = [each for each in self._asked if not waits[id(each)]]
        if ready:
            return min(ready, key=self._tag), 0.0
        return None, min(waits.values(), default=0.0)

    def grant(self, asked: Asked, now: float) -> None:
        """Let it through."""
        for kind, name, rate in self._limits_of(asked.flow):
            self._bucket(kind, name, rate, now).take(asked.count)
        self._virtual = tag = self._tag(asked)
        self._had[asked.flow.link] = tag + asked.count
        self.withdraw(asked)

    def _limits_of(self, flow: Flow) -> list[tuple[str, str, float]]:
        """Kind, name and rate of each bucket that a flow takes from."""
        shares, limits = self.shares, self.limits
        found = [
            ("download", flow.link, limits.download * shares.links.get(flow.link, 1.0)),
            ("client", flow.owner, limits.client * shares.owners.get(flow.owner, 1.0) if flow.owner else 0.0),
            ("total", "", limits.total * shares.total),
        ]
        return [each for each in found if each[2] > 0]

    def _bucket(self, kind: str, name: str, rate: float, now: float) -> _Bucket:
        bucket = self._buckets.setdefault((kind, name), _Bucket(now))
        bucket.fill(rate, now)
        return bucket

    def _wait(self, flow: Flow, now: float) -> float:
        limits = self._limits_of(flow)
        waits = (self._bucket(kind, name, rate, now).wait(rate) for kind, name, rate in limits)
        return max(waits, default=0.0)

    def _tag(self, asked: Asked) -> float:
        return max(asked.arrived, self._had.get(asked.flow.link, 0.0))

    def _forget(self, now: float) -> None:
        """Drop what is known of flows that have left and owe nothing."""
        links = {flow.link for flow in self._connections}
        self._had = {link: had for link, had in self._had.items() if link in links}
        owners = {flow.owner for flow in self._connections}
        rates = {"download": self.limits.download, "client": self.limits.client}
        in_use = {"download": links, "client": owners, "total": {""}}
        for kind, name in [key for key in self._buckets if key[1] not in in_use[key[0]]]:
            if not self._bucket(kind, name, rates[kind], now).wait(rates[kind]):
                del self._buckets[kind, name]
