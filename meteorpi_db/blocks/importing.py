"""Taking over what a Qabel block server has: accounts, prefixes, traffic and objects.

The block server may go on running. Repeated, the import takes what has come since: objects that are equal
here are left alone, others are replaced when they are newer there. What was removed there stays here.
Contents are hashed while they are copied, by the rules of uploads: first the bytes, then one transaction.

Source: K-401 and K-405 of the storage contract.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import Connection, update

from meteorpi_db.blocks import changes, contents, prefixes, rows, traffic
from meteorpi_db.blocks.ancestor import AncestorContents
from meteorpi_db.blocks.ancestor_objects import SourceObject, SourceObjects, is_left_over
from meteorpi_db.blocks.changes import Terms, Upload
from meteorpi_db.blocks.conditions import ANY, Demands
from meteorpi_db.blocks.directory import stored_id
from meteorpi_db.blocks.names import checked_path, checked_prefix, tag_of
from meteorpi_db.blocks.rows import ObjectRow
from meteorpi_db.blocks.tables import block_account, block_object
from meteorpi_db.connections import Transactions
from meteorpi_db.filestore import ContentFacts, FileStore
from meteorpi_db.filestore.copying import sha256_of
from meteorpi_db.filestore.pacing import Pace, StoppedError
from meteorpi_model import utc_datetime_to_milliseconds
from meteorpi_model.errors import (
    ConflictError,
    IncompleteBodyError,
    MeteorError,
    NotAllowedError,
    NotFoundError,
    PreconditionFailedError,
    QuotaReachedError,
)
from meteorpi_model.values import Clock

logger = logging.getLogger("meteorpi.db.blocks")

SOURCE: Final = "remote"
"""Who knows the accounts: the accounting server that the block server asked."""

Progress = Callable[[int], object]
"""Called with the bytes of objects that were looked at."""


@dataclass(kw_only=True)
class AncestorReport:
    """What an import did.

    Attributes:
        accounts, prefixes, months: that are new here; months are those of traffic.
        objects, object_bytes: that were copied.
        present: number of objects that were here already.
        troubles: name of an object or prefix, and why it could not be taken.
        is_interrupted: whether it was asked to end before everything was looked at.
    """

    accounts: int = 0
    prefixes: int = 0
    months: int = 0
    objects: int = 0
    object_bytes: int = 0
    present: int = 0
    troubles: list[tuple[str, str]] = field(default_factory=list)
    is_interrupted: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether everything is here."""
        return not self.troubles and not self.is_interrupted

    def as_dict(self) -> dict[str, object]:
        """For people and scripts."""
        listed = [{"name": name, "reason": reason} for name, reason in self.troubles]
        facts = {name: value for name, value in vars(self).items() if name != "is_interrupted"}
        told = {"interrupted": self.is_interrupted, "complete": self.is_complete}
        return {**facts, "troubles": listed, **told}


class AncestorImport:
    """One run.

    Args:
        transactions: the node's database.
        store: the node's contents.
        clock: tells the time.
        progress: told how far it is.
        pace: how fast objects are read, and what ends the run; None for as fast as can be.
    """

    def __init__(
        self,
        transactions: Transactions,
        store: FileStore,
        clock: Clock,
        progress: Progress | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._transactions = transactions
        self._store = store
        self._clock = clock
        self._progress = progress
        self._pace = pace or Pace()

    def run(self, ancestor: AncestorContents, objects: SourceObjects | None) -> AncestorReport:
        """Take everything; accounts first, since objects are counted to them.

        Raises:
            UnavailableError, StoreFullError: a database or store fails; repeated, it goes on.
        """
        report = AncestorReport()
        self._transactions.write(lambda connection: self._take_accounts(connection, ancestor, report))
        for name, user_id in sorted(ancestor.prefixes.items()):
            self._take_prefix(name, account_id_of(user_id), report)
        if objects is not None:
            try:
                self._take_objects(objects, report)
            except StoppedError:
                report.is_interrupted = True
        return report

    def _take_objects(self, objects: SourceObjects, report: AncestorReport) -> None:
        looked_at = 0
        for found in objects.listing():
            self._pace.take(0)  # an object that is here already costs nothing, and may be the last
            self._take_object(objects, found, report)
            looked_at += found.size
            if self._progress is not None:
                self._progress(looked_at)

    def _now(self) -> int:
        return utc_datetime_to_milliseconds(self._clock())

    def _take_accounts(
        self, connection: Connection, ancestor: AncestorContents, report: AncestorReport
    ) -> None:
        report.accounts = report.months = 0  # the transaction may be repeated
        for user in ancestor.users:
            account_id = account_id_of(user.user_id)
            if rows.find_account(connection, account_id) is None:
                prefixes.ensure_account(connection, account_id, SOURCE, self._now())
                this = update(block_account).where(block_account.c.account_id == account_id)
                connection.execute(this.values(quota=user.quota))
                report.accounts += 1
        for (user_id, month), sent in sorted(ancestor.traffic.items()):
            account_id = account_id_of(user_id)
            more = sent - traffic.sent_in(connection, account_id, month)
            if more > 0:
                traffic.add(connection, {account_id: more}, month)
                report.months += 1

    def _take_prefix(self, name: str, account_id: str, report: AncestorReport) -> None:
        def operation(connection: Connection) -> bool:
            held = rows.find_prefix(connection, name)
            if held is not None and held.account_id != account_id:
                raise ConflictError("there is a prefix of this name, and it is another account's")
            if held is None:
                prefixes.create_prefix(connection, account_id, self._now(), name)
            return held is None

        try:
            report.prefixes += self._transactions.write(operation)
        except (ConflictError, NotFoundError) as error:
            report.troubles.append((name, error.detail))

    def _take_object(self, objects: SourceObjects, found: SourceObject, report: AncestorReport) -> None:
        try:
            prefix, path = checked_prefix(found.name[0]), checked_path(found.name[1])
        except NotFoundError:
            report.troubles.append((found.key, "no object can have this name here"))
            return
        if is_left_over(found.key):
            report.troubles.append((found.key, "it is what a copy left that was cut off"))
            return
        row = self._present(prefix, path)
        if row is not None and not self._is_newer(objects, found, row):
            report.present += 1
            return
        try:
            report.objects += self._copy(
                objects, found, Upload(prefix=prefix, path=path, demands=_as_it_is(row))
            )
            report.object_bytes += found.size
        except PreconditionFailedError:
            report.troubles.append((found.key, "somebody changed it here while it was copied"))
        except (NotFoundError, IncompleteBodyError) as error:
            report.troubles.append((found.key, f"it was changed while it was copied: {error.detail}"))
        except (NotAllowedError, QuotaReachedError) as error:
            report.troubles.append((found.key, error.detail))

    def _present(self, prefix: str, path: str) -> ObjectRow | None:
        with self._transactions.reading() as connection:
            return rows.find_object(connection, prefix, path)

    def _is_newer(self, objects: SourceObjects, found: SourceObject, row: ObjectRow) -> bool:
        if utc_datetime_to_milliseconds(found.modified) <= row.modified_at:
            return False
        if found.size != row.size:
            return True
        return sha256_of(self._pace.through(objects.reading(found.key))) != row.sha256

    def _copy(self, objects: SourceObjects, found: SourceObject, upload: Upload) -> bool:
        content_id = uuid4()
        chunks = _exactly(self._pace.through(objects.reading(found.key)), found.size)
        facts = self._store.put(content_id, chunks, size=found.size)
        modified = utc_datetime_to_milliseconds(found.modified)
        is_used = False
        try:
            is_used = self._transactions.write(lambda c: self._record(c, upload, content_id, facts, modified))
        finally:
            if not is_used:
                self._discard(upload.prefix, content_id)
        return is_used

    def _is_held(self, connection: Connection, prefix: str, content_id: UUID) -> bool:
        prefixes.await_turn(connection, prefix)
        return bool(contents.held_ids(connection, [content_id]))

    def _discard(self, prefix: str, content_id: UUID) -> None:
        """Remove a content that is not needed, unless it is in spite of an error; else a sweep finds it."""
        try:
            if not self._transactions.write(lambda c: self._is_held(c, prefix, content_id)):
                self._store.delete(content_id)
        except MeteorError as error:
            logger.warning("content is left content_id=%s reason=%s", content_id.hex, error)

    def _record(
        self, connection: Connection, upload: Upload, content_id: UUID, facts: ContentFacts, modified: int
    ) -> bool:
        now = self._now()
        owner = prefixes.ensure_ownerless(connection, upload.prefix, now).account_id  # unless it is there
        stored = changes.store(connection, upload, content_id, facts, Terms(account_id=owner), now)
        times = {"modified_at": modified} | ({"created_at": modified} if stored.is_created else {})
        this = (block_object.c.prefix == upload.prefix, block_object.c.path == upload.path)
        connection.execute(update(block_object).where(*this).values(times))
        return stored.is_content_used


def _as_it_is(row: ObjectRow | None) -> Demands:
    """That nobody changes an object before it is replaced."""
    return Demands(if_none_match=ANY) if row is None else Demands(if_match=tag_of(row.sha256))


def account_id_of(user_id: int) -> str:
    """The account of a number that the accounting server gave."""
    return stored_id(SOURCE, str(user_id))


def _exactly(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The same chunks, which have to be so many bytes."""
    got = 0
    for chunk in chunks:
        got += len(chunk)
        yield chunk
    if got != size:
        raise IncompleteBodyError(f"it had {size} bytes, and now {got}")
