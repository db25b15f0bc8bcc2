"""Keeping and checking passwords.

Hashes are scrypt (RFC 7914) with a salt of their own, written ``scrypt$log2(n)$r$p$salt$key``. One check
takes about a fifth of a second, on purpose; so that a client which logs in with every request does not pay
it every time, a successful check is remembered for a short while under a key that is worth nothing outside
this process and stops being valid as soon as the stored hash changes. Passwords themselves are not kept.

Accounts that came from the first generation bring its hashes, PBKDF2-HMAC-SHA256 in the form of passlib
(``$pbkdf2-sha256$rounds$salt$key``, base64 with ``.`` for ``+`` and without padding). They are checked as
they are, and replaced at the first login.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable

SCRYPT_LOG2_N = 14
SCRYPT_R = 8
SCRYPT_P = 5
"""One of the equal choices of the OWASP password storage sheet; the one that needs least memory, 16 MiB."""

REMEMBERED_SECONDS = 60.0
REMEMBERED_CHECKS = 1000
_SALT_BYTES = 16
_KEY_BYTES = 32
_SPARE_MEMORY_BYTES = 1 << 20
_FIRST_GENERATION = re.compile(r"\$pbkdf2-sha256\$([1-9]\d{0,6})\$([A-Za-z0-9./]{0,64})\$([A-Za-z0-9./]{43})")


def hash_password(password: str) -> str:
    """A new salted hash of `password`."""
    salt = secrets.token_bytes(_SALT_BYTES)
    key = _scrypt(password, salt, SCRYPT_LOG2_N, SCRYPT_R, SCRYPT_P)
    return f"scrypt${SCRYPT_LOG2_N}${SCRYPT_R}${SCRYPT_P}${salt.hex()}${key.hex()}"


def verify_password(password: str, stored: str) -> bool:
    """Whether `stored` is a hash of `password`; takes the same time for right and wrong ones."""
    if old := _FIRST_GENERATION.fullmatch(stored):
        hash_password(password)  # so that nobody sees by the time it takes which accounts have old hashes
        return _verify_first_generation(password, int(old[1]), _decoded(old[2]), _decoded(old[3]))
    _, log2_n, r, p, salt, key = stored.split("$")
    found = _scrypt(password, bytes.fromhex(salt), int(log2_n), int(r), int(p))
    return hmac.compare_digest(found, bytes.fromhex(key))


def is_first_generation(stored: str) -> bool:
    """Whether `stored` is a hash of the first generation, which can be checked and should be replaced."""
    return _FIRST_GENERATION.fullmatch(stored) is not None


def _verify_first_generation(password: str, rounds: int, salt: bytes, key: bytes) -> bool:
    secret = password.encode(errors="surrogatepass")
    return hmac.compare_digest(hashlib.pbkdf2_hmac("sha256", secret, salt, rounds), key)


def _decoded(text: str) -> bytes:
    """Bytes written in passlib's base64; a last character that stands for less than a byte is let go."""
    padded = text.replace(".", "+") + "=" * (-len(text) % 4)
    return base64.b64decode(padded) if len(text) % 4 != 1 else b""


def _scrypt(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    n = 1 << log2_n
    memory = 128 * r * (n + p) + _SPARE_MEMORY_BYTES
    secret = password.encode(errors="surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=_KEY_BYTES)


class PasswordChecker:
    """Checks passwords against stored hashes, and remembers successes for a short while.

    Args:
        seconds: how long.
        monotonic: tells the seconds that have passed; tests control it.
    """

    def __init__(
        self, seconds: float = REMEMBERED_SECONDS, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._key = secrets.token_bytes(32)
        self._remembered: dict[bytes, float] = {}
        self._mutex = threading.Lock()
        self._decoy: str | None = None

    def check(self, user_id: str, password: str, stored: str | None) -> bool:
        """Whether `password` is the one that `stored` was made of.

        Args:
            user_id: the account.
            password: as given by whoever wants in.
            stored: the hash as it is in the database now; None for an unknown account, which takes as long as
                a wrong password and is always refused.
        """
        if stored is None:
            verify_password(password, self._decoy_hash())
            return False
        fingerprint = self._fingerprint(user_id, password, stored)
        if self._is_remembered(fingerprint):
            return True
        if not verify_password(password, stored):
            return False
        self._remember(fingerprint)
        return True

    def clear(self) -> None:
        """Forget every check."""
        with self._mutex:
            self._remembered.clear()

    def _decoy_hash(self) -> str:
        if self._decoy is None:
            self._decoy = hash_password(secrets.token_hex())
        return self._decoy

    def _fingerprint(self, user_id: str, password: str, stored: str) -> bytes:
        parts = [part.encode(errors="surrogatepass") for part in (user_id, stored, password)]
        message = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return hmac.digest(self._key, message, "sha256")

    def _is_remembered(self, fingerprint: bytes) -> bool:
        with self._mutex:
            until = self._remembered.get(fingerprint)
        return until is not None and self._monotonic() < until

    def _remember(self, fingerprint: bytes) -> None:
        now = self._monotonic()
        with self._mutex:
            if len(self._remembered) >= REMEMBERED_CHECKS:
                self._remembered = {key: until for key, until in self._remembered.items() if until > now}
            if len(self._remembered) < REMEMBERED_CHECKS:
                self._remembered[fingerprint] = now + self._seconds
