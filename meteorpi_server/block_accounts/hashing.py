"""Credentials as digests under a key: what is kept, compared and shared of them is worth nothing elsewhere.

Source: K-206 and I-09 of the storage contract; RFC 2104.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

_SEPARATOR: Final = b"\0"  # ends the kind: kinds have none, so no text of one kind is text of another


class CacheKeys:
    """Names of cache entries: one for each kind of question and its text, from which neither can be read.

    Args:
        secret: known to whoever shares the cache, and to nobody else.
        scope: what the answers are good for, such as the address of who gave them.
    """

    def __init__(self, secret: str, scope: str) -> None:
        self._key = hmac.digest(secret.encode(), scope.encode(), hashlib.sha256)

    def of_credentials(self, authorization: str) -> str:
        """The name of what is known about who sends this header."""
        return self._name(b"credentials", authorization)

    def of_account(self, account_id: str) -> str:
        """The name of what is known about this account."""
        return self._name(b"account", account_id)

    def _name(self, kind: bytes, text: str) -> str:
        message = kind + _SEPARATOR + text.encode(errors="surrogatepass")
        return hmac.digest(self._key, message, hashlib.sha256).hex()


def is_same_secret(given: str | None, expected: str) -> bool:
    """Whether two secrets are equal, in a time that depends on neither: not even on how long they are."""
    texts = (given or "", expected)
    digests = [hashlib.sha256(text.encode(errors="surrogatepass")).digest() for text in texts]
    return hmac.compare_digest(*digests) and given is not None
