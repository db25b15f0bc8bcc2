"""Which addresses of the internet are public, whatever form they are written in.

Networks are listed here, not asked of :mod:`ipaddress`: what its ``is_global`` and ``is_private`` say changed
between patch releases of Python, and an address that was refused yesterday must be refused today.

Source: the IANA registries of special-purpose IPv4 and IPv6 addresses (RFC 6890), and of IPv6 address space.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NOT_PUBLIC: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared, behind a provider's translation
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local; the metadata services of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # multicast tunnelling
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and the broadcast address
    )
)
"""What nobody on the internet answers under, or everybody."""

UNICAST6: Final = IPv6Network("2000::/3")
"""The only part of IPv6 that was given out; all the rest is local, special or reserved."""

NOT_PUBLIC6: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments; Teredo is looked into before
        "2001:db8::/32",  # documentation
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")
_TEREDO: Final = IPv6Network("2001::/32")
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})
_LOW: Final = 0xFFFFFFFF
_NOBODYS: Final = IPv4Address("192.0.2.1")  # for documentation; no machine has it
_DISCARD_PORT: Final = 9


def is_public(address: Address) -> bool:
    """Whether a request to `address` leaves for the internet.

    An IPv6 address that carries an IPv4 one is as public as what it carries: a node without IPv4 reaches the
    old half of the internet through such forms only.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in NOT_PUBLIC)
    if address.scope_id is not None or not all(is_public(inner) for inner in carried(address)):
        return False
    if any(address in network for network in (_MAPPED, _NAT64, _TEREDO)):
        return True
    return address in UNICAST6 and not any(address in network for network in NOT_PUBLIC6)


def carried(address: IPv6Address) -> Iterator[IPv4Address]:
    """Give the IPv4 addresses that `address` stands for or is sent through.

    Source:
        RFC 4291 section 2.5.5.2 (mapped), RFC 6052 section 2.1 (NAT64), RFC 3056 section 2 (6to4),
        RFC 4380 section 4 (Teredo: a server, and a client written in ones' complement), RFC 5214
        section 6.1 (ISATAP, below any prefix).
    """
    number = int(address)
    if address in _MAPPED or address in _NAT64:
        yield IPv4Address(number & _LOW)
    elif address in _SIX_TO_FOUR:
        yield IPv4Address(number >> 80 & _LOW)
    elif address in _TEREDO:
        yield IPv4Address(number >> 64 & _LOW)
        yield IPv4Address(number & _LOW ^ _LOW)
    if number >> 32 & _LOW in _ISATAP:
        yield IPv4Address(number & _LOW)


def is_own(address: Address) -> bool:
    """Whether `address` belongs to this machine; nothing is sent.

    The kernel is asked, so no list of interfaces is needed and none can be out of date: only an address of
    its own can be bound. Where it was told to bind any (``ip_nonlocal_bind``), it is asked from which address
    it would send there; that is the same one, except for a second address of an interface.
    """
    forms = {address, *(carried(address) if isinstance(address, IPv6Address) else ())}
    return any(_can_bind(form) and (not _can_bind_any() or _is_sent_from_itself(form)) for form in forms)


def _can_bind_any() -> bool:
    return _can_bind(_NOBODYS)


def _can_bind(address: Address) -> bool:
    with suppress(OSError), closing(_datagram_socket(address)) as probe:
        probe.bind((str(address), 0))
        return True
    return False


def _is_sent_from_itself(address: Address) -> bool:
    with suppress(OSError), closing(_datagram_socket(address)) as probe:
        probe.connect((str(address), _DISCARD_PORT))
        return str(probe.getsockname()[0]) == str(address)
    return False


def _datagram_socket(address: Address) -> socket.socket:
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    return socket.socket(family, socket.SOCK_DGRAM)
