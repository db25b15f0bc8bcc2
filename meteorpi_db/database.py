"""`MeteorDatabase`: everything that a node remembers."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import Engine

from meteorpi_db.accounts.passwords import PasswordChecker
from meteorpi_db.backup.making import Node
from meteorpi_db.backup.repository import Repository
from meteorpi_db.backup.restoring import Progress as RestoreProgress
from meteorpi_db.backup.restoring import RestoreOptions, RestoreReport, restore
from meteorpi_db.connections import Transactions, open_database
from meteorpi_db.exporting import tasks
from meteorpi_db.exporting.secrets import SecretBox, default_key_file
from meteorpi_db.exporting.tasks import EventExportTask, FileExportTask
from meteorpi_db.facade.accounts import AccountMethods
from meteorpi_db.facade.cameras import SOFTWARE_VERSION, ImportMethods
from meteorpi_db.facade.exports import ExportMethods, ReceiverMethods
from meteorpi_db.facade.upkeep import UpkeepMethods
from meteorpi_db.filestore import FileStore, open_file_store
from meteorpi_db.generators import MeteorDatabaseGenerators
from meteorpi_db.migrations import SchemaChange, ensure_schema
from meteorpi_db.stores import NodeStores
from meteorpi_model import now
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.values import Clock

__all__ = ["SOFTWARE_VERSION", "MeteorDatabase"]

DEFAULT_FILE_STORE: Final = "meteorpi-files"
INSTALLATION_ID_LENGTH: Final = 12

_MULTICAST_BIT: Final = 1 << 40
_MACHINE_ID: Final = Path("/etc/machine-id")


class MeteorDatabase(ImportMethods, AccountMethods, ExportMethods, ReceiverMethods, UpkeepMethods):
    """A node's records and file store; for any number of threads, and beside any number of others like it.

    Every call is one short transaction. What it gives belongs to the caller: nothing is shared or cached, so
    nothing is stale. Close it, or use it in a ``with``.

    Args:
        db_path: a Firebird DSN, a path ending in ``.fdb``, a SQLAlchemy URL, a path of a SQLite file, or None
            for ``meteorpi.db`` in the current directory. Embedded databases are created on first use,
            those of servers by :meth:`initialise`.
        file_store_path: directory (or URL) of the contents, created when missing; None for
            ``meteorpi-files`` in the current directory.
        db_user: account at a database server, where `db_path` does not name one.
        db_password: its password.
        installation_id: 12 characters; the default camera. None derives it from the hardware address.
        clock: tells the time.
        secret_key_file: see :mod:`meteorpi_db.exporting.secrets`.
        create: create a missing database and schema; None: only embedded ones.
        engine_options: see :func:`meteorpi_db.connections.open_database`.
        block_store_path: directory (or URL) for contents of blocks; None: beside those of files.

    Attributes:
        db_path, file_store_path, installation_id: as given, or as derived.
        store: the contents of files.
        stores: these, and those of blocks.
        generators: lazy iteration by the names of the first generation.
        con: the SQLAlchemy engine, for a look at the database beside the methods.

    Raises:
        InvalidDocumentError: an argument cannot be read, or the file store is no directory (a `ValueError`).
        SchemaVersionError: the schema is missing, or newer than this software.
        UnavailableError: the database does not answer.
    """

    def __init__(
        self,
        db_path: str | Path | None = None,
        file_store_path: str | Path | None = None,
        db_user: str = "meteorpi",
        db_password: str = "meteorpi",
        installation_id: str | None = None,
        *,
        clock: Clock = now,
        secret_key_file: str | Path | None = None,
        create: bool | None = None,
        engine_options: Mapping[str, Any] | None = None,
        block_store_path: str | Path | None = None,
    ) -> None:
        self.db_path = db_path
        self.file_store_path = DEFAULT_FILE_STORE if file_store_path is None else file_store_path
        self.installation_id = _installation_id(installation_id)
        self.clock = clock
        self.password_checker = PasswordChecker()
        self.store = open_file_store(self.file_store_path)
        own = None if block_store_path is None else open_file_store(block_store_path)
        self.stores = NodeStores(self.store, own)
        self.transactions = open_database(db_path, db_user, db_password, engine_options=engine_options)
        try:
            ensure_schema(self.transactions, create=create)
            self.stores.everything.prepare()
        except BaseException:
            self.transactions.close()
            raise
        self.secret_box = SecretBox(_key_file(secret_key_file, self.transactions, self.store))
        self.generators = MeteorDatabaseGenerators(self)

    @classmethod
    def initialise(
        cls,
        db_path: str | Path | None = None,
        db_user: str = "meteorpi",
        db_password: str = "meteorpi",
    ) -> SchemaChange:
        """Create a missing database and schema, or carry an older one forward; what was done."""
        transactions = open_database(db_path, db_user, db_password)
        try:
            return ensure_schema(transactions, create=True)
        finally:
            transactions.close()

    @classmethod
    def restore_from(
        cls,
        repository: str | Path,
        snapshot: str | None = None,
        *,
        db_path: str | Path | None = None,
        file_store_path: str | Path | None = None,
        db_user: str = "meteorpi",
        db_password: str = "meteorpi",
        secret_key_file: str | Path | None = None,
        options: RestoreOptions | None = None,
        clock: Clock = now,
        progress: RestoreProgress | None = None,
    ) -> RestoreReport:
        """Restore a backup into a database and file store that are missing or empty, of any engine.

        Args:
            repository: directory with backups, see :meth:`backup_to`.
            snapshot: which one, by its name or how that begins; None for the newest.
            db_path, file_store_path, db_user, db_password, secret_key_file, clock: as for a database.
            options: whether exports stay enabled, and what to do about damage.
            progress: called with what is done, how far it is, and the whole.

        Raises:
            BackupDamagedError: the backup is not what was written; nothing was changed.
            ConflictError: database or store are not empty; nothing was changed.
        """
        store = open_file_store(DEFAULT_FILE_STORE if file_store_path is None else file_store_path)
        with closing(open_database(db_path, db_user, db_password)) as transactions:
            key_file = _key_file(secret_key_file, transactions, store)
            node = Node(transactions=transactions, store=store, key_file=key_file, installation_id="")
            return restore(
                node, Repository(repository), clock(), wanted=snapshot, options=options, progress=progress
            )

    @property
    def con(self) -> Engine:
        """The SQLAlchemy engine."""
        return self.transactions.engine

    def get_next_entity_to_export(
        self, not_tasks: Collection[int] = (), not_configurations: Collection[int] = ()
    ) -> FileExportTask | EventExportTask | None:
        """The task that has been due longest, of an enabled configuration; None when none is due.

        Tasks of deleted entities are deleted with them (B-55). Of tasks due at one instant those that have
        failed come last, then the order of marking counts.

        Args:
            not_tasks: internal ids of tasks to pass over, because they are being worked on.
            not_configurations: internal ids of configurations to pass over.
        """
        with self.transactions.reading() as connection:
            return tasks.next_task(connection, self, self._now(), not_tasks, not_configurations)

    def close(self) -> None:
        """Give back all connections."""
        self.transactions.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"MeteorDatabase({self.transactions.backend.label!r}, {self.store.location!r})"


def _installation_id(given: str | None) -> str:
    if given is not None:
        if not isinstance(given, str) or len(given) != INSTALLATION_ID_LENGTH:
            raise InvalidDocumentError(
                f"installation_id needs {INSTALLATION_ID_LENGTH} characters, not {given!r}"
            )
        return given
    address = uuid.getnode()
    if address & _MULTICAST_BIT and _MACHINE_ID.exists():
        # No hardware address: getnode made one up, another in each process. The machine's id stays the same.
        return hashlib.sha256(_MACHINE_ID.read_bytes()).hexdigest()[:INSTALLATION_ID_LENGTH]
    return f"{address:0{INSTALLATION_ID_LENGTH}x}"


def _key_file(given: str | Path | None, transactions: Transactions, store: FileStore) -> Path | None:
    if given is not None:
        return Path(given)
    return default_key_file(transactions.backend.embedded_path, store)
