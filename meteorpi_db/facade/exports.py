"""`MeteorDatabase`: export configurations, their tasks, leases, and what senders have announced."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from meteorpi_db import limits
from meteorpi_db.exporting import exports, leases, tasks
from meteorpi_db.exporting.exports import ExportState
from meteorpi_db.exporting.secrets import SecretBox
from meteorpi_db.facade.base import FacadePart
from meteorpi_db.filestore import ContentFacts
from meteorpi_db.records import announcements, files
from meteorpi_db.records.announcements import AnnouncedFile
from meteorpi_model import Event, ExportConfiguration, FileRecord
from meteorpi_model.errors import ConflictError


class ExportMethods(FacadePart):
    """What is pushed to peers."""

    secret_box: SecretBox

    def get_export_configuration(self, config_id: UUID) -> ExportConfiguration | None:
        """The configuration with its password; None when it is not stored."""
        with self.transactions.reading() as connection:
            return exports.configuration(connection, self.secret_box, config_id)

    def get_export_configurations(self) -> list[ExportConfiguration]:
        """Every configuration with its password, newest first."""
        with self.transactions.reading() as connection:
            return exports.configurations(connection, self.secret_box)

    def create_or_update_export_configuration(
        self, export_config: ExportConfiguration
    ) -> ExportConfiguration:
        """Store a configuration; a new one gets its `config_id`, a stored one is replaced.

        Failures counted so far and a suspension are forgotten. A password of None leaves a stored one alone.

        Raises:
            NotFoundError: there is none with that `config_id`.
            InvalidDocumentError: a member cannot be stored (a ``ValueError``).
        """
        known_id = export_config.config_id
        export_config.config_id = self.transactions.write(
            lambda connection: exports.save(connection, self.secret_box, export_config, known_id)
        )
        return export_config

    def delete_export_configuration(self, config_id: UUID) -> None:
        """Delete a configuration with its tasks; unknown: nothing happens."""
        self.transactions.write(lambda connection: exports.delete_configuration(connection, config_id))

    def set_export_ca_file(self, config_id: UUID, ca_file: str | None) -> None:
        """Say which certificates to trust for a peer; None for the usual ones."""
        self.transactions.write(lambda connection: exports.set_ca_file(connection, config_id, ca_file))

    def mark_entities_to_export(self, export_config: ExportConfiguration) -> int:
        """Make a task for everything that matches and has none yet; gives the number of new tasks.

        Raises:
            UnknownEntityError: the configuration is not stored (a ``ValueError``).
        """
        now = self._now()
        with self.transactions.reading() as connection:
            if not tasks.needs_marking(connection, export_config, now):
                return 0
        return self.transactions.write(lambda connection: tasks.mark(connection, export_config, now))

    def defer_export_tasks(self, config_id: UUID, seconds: float) -> None:
        """Make every task of a configuration that is due within `seconds` due exactly then.

        Raises:
            UnknownEntityError: the configuration is not stored (a ``ValueError``).
        """
        now = self._now()
        self.transactions.write(lambda connection: tasks.defer(connection, config_id, seconds, now))

    def set_task_status(self, task_internal_id: int, status: int) -> None:
        """Store that a task is complete (0) or active (anything else)."""
        now = self._now()
        self.transactions.write(
            lambda connection: tasks.set_status(connection, task_internal_id, status, now)
        )

    def record_task_failure(self, task_internal_id: int) -> None:
        """Count a failure of one task."""
        self.transactions.write(lambda connection: tasks.record_failure(connection, task_internal_id))

    def get_export_states(self) -> list[ExportState]:
        """How every configuration is doing, newest first."""
        with self.transactions.reading() as connection:
            return exports.states(connection)

    def record_export_success(self, config_id: UUID) -> None:
        """Note a delivery: failures of the configuration begin at zero again."""
        now = self._now()
        self.transactions.write(lambda connection: exports.record_success(connection, config_id, now))

    def record_export_failure(self, config_id: UUID, reason: str, max_failures: int) -> ExportState:
        """Count a failure; after `max_failures` in a row the configuration is suspended.

        Returns:
            The state afterwards, without numbers of tasks.
        """
        now = self._now()
        return self.transactions.write(
            lambda connection: exports.record_failure(connection, config_id, reason, max_failures, now)
        )

    def suspend_export(self, config_id: UUID, next_probe_at: datetime) -> None:
        """Keep a configuration suspended until a probe at that time finds its peer well."""
        probe_at, now = limits.checked_time(next_probe_at, "next_probe_at"), self._now()
        self.transactions.write(lambda connection: exports.suspend(connection, config_id, probe_at, now))

    def get_due_probes(self) -> list[ExportState]:
        """Suspended configurations whose peers should be asked now whether they answer again."""
        with self.transactions.reading() as connection:
            return exports.due_probes(connection, self._now())

    def resume_export(self, config_id: UUID) -> None:
        """Enable a suspended configuration, its tasks due now; what a person disabled stays disabled."""
        now = self._now()
        self.transactions.write(lambda connection: exports.resume(connection, config_id, now))

    def acquire_lease(self, name: str, owner: str, seconds: float) -> bool:
        """Become the owner of `name` for a while, unless another one is."""
        now = self._now()
        until = now + round(1000 * seconds)
        return self.transactions.write(lambda c: leases.acquire(c, name, owner, now, until))

    def renew_lease(self, name: str, owner: str, seconds: float) -> bool:
        """Stay the owner for another while; False when the lease has run out."""
        now = self._now()
        until = now + round(1000 * seconds)
        return self.transactions.write(lambda c: leases.renew(c, name, owner, now, until))

    def is_lease_abandoned(self, name: str) -> bool:
        """Whether a lease ran out and was not given back: its owner was killed, frozen, or cut off."""
        with self.transactions.reading() as connection:
            return leases.is_abandoned(connection, name, self._now())

    def release_lease(self, name: str, owner: str) -> bool:
        """Give a lease back; False when it was not held."""
        return self.transactions.write(lambda connection: leases.release(connection, name, owner))


class ReceiverMethods(FacadePart):
    """What senders have announced, and contents that have no record yet."""

    def announce(self, sender: str, entity: Event | FileRecord) -> None:
        """Remember an entity that `sender` is pushing, and which contents it needs."""
        now = self._now()

        def announce(connection: Connection) -> None:
            announcements.announce(connection, sender, entity, now)

        try:
            self.transactions.write(announce)
        except ConflictError:  # another request of the sender announced the same file at this instant
            self.transactions.write(announce)

    def announced(self, sender: str, entity_id: UUID) -> Event | FileRecord | None:
        """The entity that `sender` announced last under that id."""
        with self.transactions.reading() as connection:
            return announcements.announced(connection, sender, limits.checked_id(entity_id, "entity_id"))

    def announced_file(self, sender: str, file_id: UUID) -> AnnouncedFile | None:
        """What `sender` said about a content it may upload; None when nothing it announced needs it."""
        with self.transactions.reading() as connection:
            return announcements.announced_file(connection, sender, limits.checked_id(file_id, "file_id"))

    def forget_announced(self, sender: str, entity: Event | FileRecord) -> None:
        """Forget an entity that is complete."""
        self.transactions.write(lambda connection: announcements.forget(connection, sender, entity))

    def prune_announcements(self, kept_milliseconds: int = announcements.KEPT_MILLISECONDS) -> int:
        """Forget what was announced long ago and not followed up; gives the number of entities."""
        before = self._now() - kept_milliseconds
        return self.transactions.write(lambda connection: announcements.prune(connection, before))

    def receive_content(
        self,
        sender: str,
        file_id: UUID,
        chunks: Iterable[bytes],
        *,
        size: int | None = None,
        md5: str | None = None,
    ) -> ContentFacts:
        """Store a content whose record will follow; its digests are kept for the import.

        Args:
            sender: who announced it.
            file_id: id of the record.
            chunks: the bytes.
            size: announced number of bytes.
            md5: announced MD5.

        Raises:
            DigestMismatchError: it is not what was announced; nothing is visible at any time (S-151).
        """
        facts = self.store.put(file_id, chunks, size=size, digests={"md5": md5} if md5 else None)
        if facts.size >= announcements.NOTED_FROM_BYTES:
            self.transactions.write(
                lambda connection: announcements.note_received(connection, sender, file_id, facts)
            )
        return facts

    def discard_content(self, file_id: UUID) -> bool:
        """Remove a content that has no record; True when there was one.

        Raises:
            ConflictError: there is a record that needs it.
        """
        wanted = limits.checked_id(file_id, "file_id")
        with self.transactions.reading() as connection:
            if files.pk_of(connection, wanted) is not None:
                raise ConflictError("the content belongs to a file record", entity_id=wanted)
        self.transactions.write(lambda connection: announcements.forget_received(connection, wanted))
        return self.store.delete(wanted)
