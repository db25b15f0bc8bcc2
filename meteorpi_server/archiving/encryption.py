"""Contents under a password: AES-256 as WinZip, 7-Zip and others read it.

Every content has a salt of its own, new in each download: two contents under the same key would give each
other away. Sizes do not depend on it, so the length of an archive is known; its bytes are not, so parts of it
cannot be had. The old cipher of zip files is not offered: it was broken long ago.

Source:
    AES Encryption Information, version AE-2 (winzip.com/en/support/aes-encryption); section 3.16 of the
    archive contract.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from typing import Final

SALT_BYTES: Final = 16
VERIFIER_BYTES: Final = 2
CODE_BYTES: Final = 10
OVERHEAD_BYTES: Final = SALT_BYTES + VERIFIER_BYTES + CODE_BYTES
"""So much longer than its content an encrypted entry is."""

_KEY_BYTES: Final = 32
_ITERATIONS: Final = 1000  # of the format; what it lacks, the password has to have
_COUNTER_BITS: Final = 128


@cache
def is_offered() -> bool:
    """Whether the library that encrypts is installed (extra ``archive``)."""
    return find_spec("Crypto") is not None


def encrypted(chunks: Iterable[bytes], password: str) -> Iterator[bytes]:
    """What stands in an archive for a content: salt, verifier, encrypted bytes, authentication code.

    Args:
        chunks: the content as it would stand there otherwise.
        password: of the archive.
    """
    from Crypto.Cipher import AES
    from Crypto.Util import Counter

    salt = os.urandom(SALT_BYTES)
    length = 2 * _KEY_BYTES + VERIFIER_BYTES
    keys = hashlib.pbkdf2_hmac("sha1", password.encode(), salt, _ITERATIONS, length)
    counter = Counter.new(_COUNTER_BITS, initial_value=1, little_endian=True)
    cipher = AES.new(keys[:_KEY_BYTES], AES.MODE_CTR, counter=counter)
    code = hmac.new(keys[_KEY_BYTES : 2 * _KEY_BYTES], digestmod="sha1")
    yield salt + keys[2 * _KEY_BYTES :]
    for chunk in chunks:
        sealed = cipher.encrypt(chunk)
        code.update(sealed)
        yield sealed
    yield code.digest()[:CODE_BYTES]
