"""The schema: every table and index; the only place where columns are named.

Times are integer milliseconds since the epoch (UTC), `time_offset` whole seconds since the midday before.
Identifiers that travel between nodes are UUIDs with a unique constraint; `id` columns are local, grow with
registration, and break ties in time order. The column types are chosen per engine in
:mod:`meteorpi_db.dialects`.

Metadata rows repeat the time of their owner (`entity_time`), so that "newest with this value" is one walk
over an index however many entities there are.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    UniqueConstraint,
    text,
)

from meteorpi_db.dialects import (
    ASCENDING_ONLY,
    DESCENDING_ONLY,
    Amount,
    ExactText,
    HexDigest,
    Identifier,
    LongText,
    RowId,
)

CAMERA_ID_LENGTH = 64
TYPE_LENGTH = 255
NAME_LENGTH = 255
TEXT_LENGTH = 4096
STRING_HEAD_LENGTH = 64
USER_ID_LENGTH = 40

metadata = MetaData()


def _row_id() -> Column[int]:
    return Column("id", RowId, primary_key=True, autoincrement=True)


def _owner(table: str, name: str) -> Column[int]:
    return Column(name, RowId, ForeignKey(f"{table}.id", ondelete="CASCADE"), nullable=False)


def _status() -> Column[int]:
    """The camera status of an entity; no cascade, so that a status in use cannot take records with it."""
    return Column("status_pk", RowId, ForeignKey("camera_status.id"), nullable=False)


def _newest_first(name: str, *columns: str) -> Index:
    """An index that pages are walked along, newest first, and that no query walks the other way."""
    return Index(name, *columns, info=DESCENDING_ONLY)


def _lookup(name: str, *columns: str) -> Index:
    """An index that finds rows, or gives them lowest first."""
    return Index(name, *columns, info=ASCENDING_ONLY)


def _partial(name: str, *columns: str) -> Index:
    """An index over metadata of one type: rows of the other types are left out where the engine can."""
    condition = text(f"{columns[1]} IS NOT NULL")
    return Index(name, *columns, info=DESCENDING_ONLY, sqlite_where=condition, postgresql_where=condition)


camera_status = Table(
    "camera_status",
    metadata,
    _row_id(),
    Column("status_id", Identifier, nullable=False, unique=True),
    Column("camera_id", ExactText(CAMERA_ID_LENGTH), nullable=False),
    Column("valid_from", BigInteger, nullable=False),
    Column("software_version", Integer, nullable=False),
    Column("lens", ExactText(NAME_LENGTH), nullable=False),
    Column("sensor", ExactText(NAME_LENGTH), nullable=False),
    Column("inst_url", ExactText(NAME_LENGTH)),
    Column("inst_name", ExactText(NAME_LENGTH)),
    Column("latitude", Amount, nullable=False),
    Column("longitude", Amount, nullable=False),
    Column("location_error", Amount, nullable=False),
    Column("gps", Boolean(create_constraint=False), nullable=False),
    Column("altitude", Amount, nullable=False),
    Column("azimuth", Amount, nullable=False),
    Column("rotation", Amount, nullable=False),
    Column("orientation_error", Amount, nullable=False),
    Column("width_of_field", Amount, nullable=False),
    Column("regions", LongText, nullable=False),
    Index("ix_status_camera", "camera_id", "valid_from", "id"),
    _lookup("ix_status_place", "latitude", "longitude"),
)

file_record = Table(
    "file_record",
    metadata,
    _row_id(),
    Column("file_id", Identifier, nullable=False, unique=True),
    Column("camera_id", ExactText(CAMERA_ID_LENGTH), nullable=False),
    Column("file_time", BigInteger, nullable=False),
    Column("time_offset", Integer, nullable=False),
    _status(),
    Column("mime_type", ExactText(NAME_LENGTH), nullable=False),
    Column("semantic_type", ExactText(TYPE_LENGTH), nullable=False),
    Column("file_name", ExactText(NAME_LENGTH)),
    Column("file_size", BigInteger, nullable=False),
    Column("md5", HexDigest(32), nullable=False),
    Column("sha256", HexDigest(64), nullable=False),
    Column("crc32", BigInteger, nullable=False),
    Column("registered_at", BigInteger, nullable=False),
    Column("imported_by", ExactText(USER_ID_LENGTH)),
    Column("imported_at", BigInteger),
    Column("verified_at", BigInteger),
    Column("is_corrupt", Boolean(create_constraint=False), nullable=False, default=False),
    _newest_first("ix_file_time", "file_time", "id"),
    _newest_first("ix_file_camera", "camera_id", "file_time", "id"),
    _newest_first("ix_file_semantic", "semantic_type", "file_time", "id"),
    _newest_first("ix_file_mime", "mime_type", "file_time", "id"),
    _newest_first("ix_file_status", "status_pk", "file_time", "id", "time_offset"),
    _lookup("ix_file_offset", "time_offset", "file_time"),
    _lookup("ix_file_sha256", "sha256"),
)

event = Table(
    "event",
    metadata,
    _row_id(),
    Column("event_id", Identifier, nullable=False, unique=True),
    Column("camera_id", ExactText(CAMERA_ID_LENGTH), nullable=False),
    Column("event_time", BigInteger, nullable=False),
    Column("time_offset", Integer, nullable=False),
    _status(),
    Column("event_type", ExactText(TYPE_LENGTH), nullable=False),
    Column("registered_at", BigInteger, nullable=False),
    Column("imported_by", ExactText(USER_ID_LENGTH)),
    Column("imported_at", BigInteger),
    _newest_first("ix_event_time", "event_time", "id"),
    _newest_first("ix_event_camera", "camera_id", "event_time", "id"),
    _newest_first("ix_event_type", "event_type", "event_time", "id"),
    _newest_first("ix_event_status", "status_pk", "event_time", "id", "time_offset"),
    _lookup("ix_event_offset", "time_offset", "event_time"),
)

event_file = Table(
    "event_file",
    metadata,
    _owner("event", "event_pk"),
    Column("position", Integer, nullable=False),
    _owner("file_record", "file_pk"),
    PrimaryKeyConstraint("event_pk", "position", name="pk_event_file"),
    UniqueConstraint("file_pk", "event_pk", name="uq_event_file"),
)


def _meta_table(name: str, owner: str, prefix: str) -> Table:
    """Metadata of files or of events: one row an item, exactly one of the three values set.

    `is_repeat`: an earlier item of the same owner has the same key; searches look for duplicates there only.
    """
    return Table(
        name,
        metadata,
        _owner(owner, "owner_pk"),
        Column("position", Integer, nullable=False),
        Column("meta_key", ExactText(TYPE_LENGTH), nullable=False),
        Column("entity_time", BigInteger, nullable=False),
        Column("is_repeat", Boolean(create_constraint=False), nullable=False, default=False),
        Column("string_head", ExactText(STRING_HEAD_LENGTH)),
        Column("string_value", ExactText(TEXT_LENGTH)),
        Column("number_value", Amount),
        Column("is_integer", Boolean(create_constraint=False), nullable=False, default=False),
        Column("date_value", BigInteger),
        PrimaryKeyConstraint("owner_pk", "position", name=f"pk_{prefix}"),
        _partial(f"ix_{prefix}_string", "meta_key", "string_head", "entity_time", "owner_pk", "is_repeat"),
        _partial(f"ix_{prefix}_number", "meta_key", "number_value", "entity_time", "owner_pk", "is_repeat"),
        _partial(f"ix_{prefix}_date", "meta_key", "date_value", "entity_time", "owner_pk", "is_repeat"),
    )


file_meta = _meta_table("file_meta", "file_record", "file_meta")
event_meta = _meta_table("event_meta", "event", "event_meta")

high_water_mark = Table(
    "high_water_mark",
    metadata,
    Column("camera_id", ExactText(CAMERA_ID_LENGTH), primary_key=True),
    Column("mark", BigInteger, nullable=False),
)

user_account = Table(
    "user_account",
    metadata,
    Column("user_id", ExactText(USER_ID_LENGTH), primary_key=True),
    Column("password_hash", ExactText(NAME_LENGTH), nullable=False),
    Column("role_mask", Integer, nullable=False),
    Column("is_enabled", Boolean(create_constraint=False), nullable=False, default=True),
    Column("is_restricted", Boolean(create_constraint=False), nullable=False, default=False),
    Column("created_at", BigInteger, nullable=False),
)

user_camera = Table(
    "user_camera",
    metadata,
    Column(
        "user_id",
        ExactText(USER_ID_LENGTH),
        ForeignKey("user_account.user_id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("camera_id", ExactText(CAMERA_ID_LENGTH), nullable=False),
    PrimaryKeyConstraint("user_id", "camera_id", name="pk_user_camera"),
)

api_token = Table(
    "api_token",
    metadata,
    Column("token_id", Identifier, primary_key=True),
    Column(
        "user_id",
        ExactText(USER_ID_LENGTH),
        ForeignKey("user_account.user_id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("name", ExactText(NAME_LENGTH), nullable=False),
    Column("secret_sha256", HexDigest(64), nullable=False, unique=True),
    Column("role_mask", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("last_used_at", BigInteger),
    _lookup("ix_token_user", "user_id"),
)

login_failure = Table(
    "login_failure",
    metadata,
    Column("subject", ExactText(NAME_LENGTH), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_failure_at", BigInteger, nullable=False),
    _lookup("ix_login_failure_time", "last_failure_at"),
)

export_config = Table(
    "export_config",
    metadata,
    _row_id(),
    Column("config_id", Identifier, nullable=False, unique=True),
    Column("export_type", ExactText(10), nullable=False),
    Column("search", LongText, nullable=False),
    Column("target_url", ExactText(2048), nullable=False),
    Column("target_user", ExactText(NAME_LENGTH), nullable=False),
    Column("target_secret", LongText, nullable=False),
    Column("name", ExactText(NAME_LENGTH), nullable=False),
    Column("description", LongText, nullable=False),
    Column("is_enabled", Boolean(create_constraint=False), nullable=False),
    Column("ca_file", ExactText(1024)),
    Column("failures", Integer, nullable=False, default=0),
    Column("last_error", LongText),
    Column("last_failure_at", BigInteger),
    Column("last_success_at", BigInteger),
    Column("suspended_at", BigInteger),
    Column("next_probe_at", BigInteger),
    Column("probe_count", Integer, nullable=False, default=0),
    # How far marking has come; see marking_progress.
    Column("marked_pk", RowId),
    Column("seen_pk", RowId),
    Column("seen_at", BigInteger),
)


EXCEPT_ON = "except_on"
"""Key of `UniqueConstraint.info` for the dialect that goes without it."""


def unique_except_on(dialect_name: str, *columns: str, name: str) -> UniqueConstraint:
    """A unique constraint that one of the engines does not get."""

    def is_wanted(*_: object, dialect: Dialect, **__: object) -> bool:
        return dialect.name != dialect_name

    constraint = UniqueConstraint(*columns, name=name, info={EXCEPT_ON: dialect_name})
    return constraint.ddl_if(callable_=is_wanted)


def _one_task_for(entity: str) -> UniqueConstraint:
    """At most one task for an entity and a configuration.

    Firebird takes (NULL, 1) to equal (NULL, 1), and file tasks have no event. There marking alone sees to it,
    which locks the configuration meanwhile, and the foreign keys bring the index.
    """
    return unique_except_on("firebird", entity, "config_pk", name=f"uq_task_{entity.removesuffix('_pk')}")


export_task = Table(
    "export_task",
    metadata,
    _row_id(),
    _owner("export_config", "config_pk"),
    Column("file_pk", RowId, ForeignKey("file_record.id", ondelete="CASCADE")),
    Column("event_pk", RowId, ForeignKey("event.id", ondelete="CASCADE")),
    Column("due_at", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("completed_at", BigInteger),
    # How often this very entity failed: of tasks due at one time, those that never did go first.
    Column("failures", Integer, nullable=False, default=0),
    _one_task_for("file_pk"),
    _one_task_for("event_pk"),
    _lookup("ix_task_queue", "config_pk", "state", "due_at", "failures", "id"),
)

lease = Table(
    "lease",
    metadata,
    Column("name", ExactText(64), primary_key=True),
    Column("owner", ExactText(NAME_LENGTH)),
    Column("expires_at", BigInteger, nullable=False),
)

audit_entry = Table(
    "audit_entry",
    metadata,
    _row_id(),
    Column("recorded_at", BigInteger, nullable=False),
    Column("actor", ExactText(NAME_LENGTH), nullable=False),
    Column("address", ExactText(64)),
    Column("action", ExactText(64), nullable=False),
    Column("subject", ExactText(NAME_LENGTH), nullable=False),
    Column("detail", LongText),
    _newest_first("ix_audit_time", "recorded_at", "id"),
)

announced_entity = Table(
    "announced_entity",
    metadata,
    Column("sender", ExactText(USER_ID_LENGTH), nullable=False),
    Column("entity_type", ExactText(10), nullable=False),
    Column("entity_id", Identifier, nullable=False),
    Column("document", LongText, nullable=False),
    Column("announced_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("sender", "entity_id", "entity_type", name="pk_announced_entity"),
    _lookup("ix_announced_entity_time", "announced_at"),
)

announced_file = Table(
    "announced_file",
    metadata,
    Column("sender", ExactText(USER_ID_LENGTH), nullable=False),
    Column("file_id", Identifier, nullable=False),
    Column("md5", HexDigest(32)),
    Column("file_size", BigInteger),
    Column("sha256", HexDigest(64)),
    Column("crc32", BigInteger),
    Column("announced_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("sender", "file_id", name="pk_announced_file"),
    _lookup("ix_announced_file_id", "file_id"),
    _lookup("ix_announced_file_time", "announced_at"),
)
