"""Links that let whoever has them read one object for a while: a signature of our own, on every store.

A link is ``<expiry in seconds>.<id of its counter, if it has one>.<signature>``. It names nothing: whatever
the object of that name holds is what it leads to.

Source: K-139 of the storage contract.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import re
from collections.abc import Callable
from typing import Final

from meteorpi_model.errors import ConfigurationError, NotFoundError, UnavailableError

logger = logging.getLogger("meteorpi.block.links")

SHORTEST_KEY: Final = 16

_LINK: Final = re.compile(r"([0-9]{1,12})\.([0-9a-f]{0,32})\.([A-Za-z0-9_-]{43})")


class LinkSigner:
    """Makes links and knows its own again. Safe for threads.

    Args:
        keys: apart by spaces; the first signs, all are accepted, so that keys can be changed without breaking
            links at once. Empty takes the key of the node.
        node_key: gives that one; called when it is first needed.

    Raises:
        ConfigurationError: a key is short enough to be guessed.
    """

    def __init__(self, keys: str, node_key: Callable[[], bytes]) -> None:
        self._known = [key.encode() for key in keys.split()]
        if any(len(key) < SHORTEST_KEY for key in self._known):
            raise ConfigurationError(f"a key that signs links has at least {SHORTEST_KEY} characters")
        self._node_key = node_key

    def sign(self, prefix: str, path: str, expires_at: int, counter: str = "") -> str:
        """A link.

        Args:
            prefix, path: of the object.
            expires_at: seconds since 1970.
            counter: id of what counts its uses; empty for any number of them.

        Raises:
            UnavailableError: there is no key.
        """
        keys = self._keys()
        if not keys:
            raise UnavailableError("links cannot be made: METEORPI_BLOCK_LINK_KEYS has to name a key")
        return f"{expires_at}.{counter}.{_signature(keys[0], prefix, path, expires_at, counter)}"

    def counter_of(self, link: str, prefix: str, path: str, now: float) -> str:
        """The counter of a link that is good, empty when it has none; `now` in seconds since 1970.

        Raises:
            NotFoundError: the link is not ours, leads elsewhere, or its time is over.
        """
        match = _LINK.fullmatch(link)
        if match is not None and int(match[1]) > now:
            expires_at, counter = int(match[1]), match[2]
            expected = [_signature(key, prefix, path, expires_at, counter) for key in self._keys()]
            if any(hmac.compare_digest(match[3], each) for each in expected):
                return counter
        raise NotFoundError("there is no such object")

    def _keys(self) -> list[bytes]:
        """All of them; none where the node has no key of its own, which has been said in the log then."""
        if not self._known:
            try:
                self._known = [self._node_key()]
            except ConfigurationError as error:
                logger.warning("no key for links reason=%s", error.detail)
        return self._known


def _signature(key: bytes, prefix: str, path: str, expires_at: int, counter: str) -> str:
    text = "\0".join(("block link", prefix, path, str(expires_at), counter))
    digest = hmac.digest(key, text.encode("ascii"), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")
