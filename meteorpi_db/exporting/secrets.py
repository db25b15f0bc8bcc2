"""Passwords of peers, encrypted at rest (B-44).

They must be had in clear when something is pushed, so they are encrypted and not hashed: with Fernet
(AES-128-CBC and HMAC-SHA-256), under a key in a file of its own that only the node's account can read. A copy
of the database alone, a backup for example, then gives nothing away.

The file is made when the first password is stored: where the setting says, else beside an embedded database
(``meteorpi.db.key``), else beside a local file store (``files.key``). Whoever moves a database takes the file
along; without it the peers' passwords have to be entered again.
"""

from __future__ import annotations

import hmac
import os
import tempfile
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from meteorpi_db.filestore import FileStore, LocalFileStore
from meteorpi_model.errors import ConfigurationError


def default_key_file(embedded_path: Path | None, store: FileStore) -> Path | None:
    """Where the key is when no setting says so: beside an embedded database, else beside a local file store.

    Args:
        embedded_path: the file of an embedded database.
        store: the file store.
    """
    beside = embedded_path
    if beside is None and isinstance(store, LocalFileStore):
        beside = store.root
    return None if beside is None else beside.with_name(f"{beside.name}.key")


class SecretBox:
    """Encrypts and decrypts with the key of one file, which is read when first needed.

    Args:
        key_file: where the key is or will be; None when there is no place for one.
    """

    def __init__(self, key_file: Path | None) -> None:
        self.key_file = key_file
        self._fernet: Fernet | None = None

    def seal(self, text: str) -> str:
        """`text` encrypted; makes the key when there is none.

        Raises:
            ConfigurationError: there is no place for a key, or it cannot be made or read.
        """
        return self._cipher(create=True).encrypt(text.encode()).decode("ascii")

    def open(self, sealed: str) -> str:
        """The text that was sealed.

        Raises:
            ConfigurationError: the key is missing, or is not the one it was sealed with.
        """
        try:
            return self._cipher(create=False).decrypt(sealed.encode("ascii")).decode()
        except InvalidToken as error:
            raise ConfigurationError(
                f"the key in {self.key_file} does not fit the passwords in the database: bring the right file"
                " back, or enter the passwords of the export configurations again"
            ) from error

    def derived_key(self, purpose: str) -> bytes:
        """A key of 32 bytes for something else, the same as long as the key is; makes it when there is none.

        Raises:
            ConfigurationError: as :meth:`seal`.
        """
        self._cipher(create=True)
        try:
            key = self._path().read_bytes().strip()
        except OSError as error:
            raise ConfigurationError(f"the key of this node cannot be read: {error.strerror}") from error
        return hmac.digest(key, purpose.encode(), "sha256")

    def _cipher(self, create: bool) -> Fernet:
        if self._fernet is None:
            self._fernet = _fernet_from(self._path(), create)
        return self._fernet

    def _path(self) -> Path:
        if self.key_file is None:
            raise ConfigurationError(
                "there is no place for the key that protects passwords of peers: name a secret_key_file"
            )
        return self.key_file


def _fernet_from(path: Path, create: bool) -> Fernet:
    try:
        if create and not path.exists():
            _make_key(path)
        return Fernet(path.read_bytes().strip())
    except OSError as error:
        raise ConfigurationError(
            f"the key that protects passwords of peers cannot be used: {path}: {error.strerror}"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"{path} does not hold a Fernet key") from error


def _make_key(path: Path) -> None:
    """Write a new key under a temporary name and link it: of two processes one wins, and none reads half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(Fernet.generate_key())
            stream.flush()
            os.fsync(stream.fileno())
        path.hardlink_to(temporary)
    except FileExistsError:
        return
    finally:
        Path(temporary).unlink()
