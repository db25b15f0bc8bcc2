"""The tables of archives, which every node has, whether it offers archives or not.

They came with version 2 of the schema. The plan of a ticket, by far the largest value here, is in a table of
its own, so that lists of tickets do not read it. `archive_queue` has a row for each ticket that waits or has
a slot, `archive_downloads` one for each connection that takes bytes now. The checksums of records are with
the records; `archive_dir_crc` has those of files in directories.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Table,
    UniqueConstraint,
)

from meteorpi_db.dialects import (
    ASCENDING_ONLY,
    DESCENDING_ONLY,
    ExactText,
    HexDigest,
    Identifier,
    LongText,
)
from meteorpi_db.tables import NAME_LENGTH, USER_ID_LENGTH, metadata

CLIENT_NAME_LENGTH = 64
SIGNING_KEY_DIGITS = 128
ETAG_LENGTH = 128
HASH_LENGTH = 128
OWNER_LENGTH = 64


def _ticket() -> Column[object]:
    """The ticket that a row belongs to and goes with; there is at most one such row."""
    return Column(
        "ticket_id",
        Identifier,
        ForeignKey("archive_tickets.ticket_id", ondelete="CASCADE"),
        primary_key=True,
    )


archive_clients = Table(
    "archive_clients",
    metadata,
    Column("client_id", Identifier, primary_key=True),
    Column("name", ExactText(CLIENT_NAME_LENGTH), nullable=False),
    Column("digest", HexDigest(64), nullable=False),
    # What its tokens are verified with; none when its secret is too short to be kept as a digest for that.
    Column("signing_key", HexDigest(SIGNING_KEY_DIGITS)),
    Column("rights", LongText, nullable=False),
    Column("limits", LongText, nullable=False),
    Column("is_enabled", Boolean(create_constraint=False), nullable=False, default=True),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("name", name="uq_archive_client_name"),
    UniqueConstraint("digest", name="uq_archive_client_digest"),
)

archive_tickets = Table(
    "archive_tickets",
    metadata,
    Column("ticket_id", Identifier, primary_key=True),
    Column("client_id", Identifier, ForeignKey("archive_clients.client_id", ondelete="CASCADE")),
    Column("user_id", ExactText(USER_ID_LENGTH), ForeignKey("user_account.user_id", ondelete="CASCADE")),
    Column("ticket_type", ExactText(10), nullable=False),
    Column("options", LongText, nullable=False),
    Column("is_withdrawn", Boolean(create_constraint=False), nullable=False, default=False),
    Column("etag", ExactText(ETAG_LENGTH)),
    Column("size_bytes", BigInteger),
    Column("entries", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    # Set once it is used up: until then what was begun may be resumed.
    Column("available_until", BigInteger),
    Column("max_downloads", Integer, nullable=False),
    Column("downloads", Integer, nullable=False, default=0),
    Column("bytes_sent", BigInteger, nullable=False, default=0),
    Column("entries_done", Integer, nullable=False, default=0),
    Column("errors", LongText, nullable=False),
    Column("published_as", ExactText(HASH_LENGTH)),
    # Digest of owner and key of the request, for as long as a repetition of it gets the same ticket.
    Column("idempotency", HexDigest(64)),
    UniqueConstraint("published_as", name="uq_archive_ticket_hash"),
    UniqueConstraint("idempotency", name="uq_archive_ticket_request"),
    Index("ix_archive_ticket_created", "created_at", "ticket_id", info=DESCENDING_ONLY),
    Index("ix_archive_ticket_client", "client_id", "created_at", "ticket_id", info=DESCENDING_ONLY),
    Index("ix_archive_ticket_user", "user_id", "created_at", "ticket_id", info=DESCENDING_ONLY),
    Index("ix_archive_ticket_expiry", "expires_at", info=ASCENDING_ONLY),
    Index("ix_archive_ticket_etag", "etag", info=ASCENDING_ONLY),
)

archive_plans = Table(
    "archive_plans",
    metadata,
    _ticket(),
    # In base64: backups are lines of text, and no engine needs a second kind of large value for this.
    Column("plan", LongText, nullable=False),
)

archive_queue = Table(
    "archive_queue",
    metadata,
    _ticket(),
    Column("owner", ExactText(OWNER_LENGTH), nullable=False),
    Column("place", SmallInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("waiter", ExactText(NAME_LENGTH), nullable=False),
    Column("enqueued_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("slot_until", BigInteger),
)

archive_downloads = Table(
    "archive_downloads",
    metadata,
    Column("download_id", Identifier, primary_key=True),
    Column(
        "ticket_id",
        Identifier,
        ForeignKey("archive_tickets.ticket_id", ondelete="CASCADE"),
    ),
    Column("process", ExactText(NAME_LENGTH), nullable=False),
    # A digest: directories have no ticket, and their names are secrets.
    Column("link", HexDigest(64), nullable=False),
    Column("owner", ExactText(OWNER_LENGTH), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("sent_bytes", BigInteger, nullable=False, default=0),
    Column("total_bytes", BigInteger),
    Index("ix_archive_download_ticket", "ticket_id", info=ASCENDING_ONLY),
)

archive_turns = Table(
    "archive_turns",
    metadata,
    # One row counts them all: whoever changes the queue counts it up first, and so is alone with it. The
    # others say which was the last turn of each owner.
    Column("name", ExactText(OWNER_LENGTH), primary_key=True),
    Column("number", BigInteger, nullable=False),
)

archive_dir_crc = Table(
    "archive_dir_crc",
    metadata,
    # Digest of path, device, inode, size and time of a file: a changed one is another.
    Column("file_key", HexDigest(64), primary_key=True),
    Column("crc32", BigInteger, nullable=False),
    Column("checked_at", BigInteger, nullable=False),
    Index("ix_archive_dir_crc_checked", "checked_at", info=ASCENDING_ONLY),
)

TABLES = (
    archive_clients,
    archive_tickets,
    archive_plans,
    archive_queue,
    archive_downloads,
    archive_turns,
    archive_dir_crc,
)
"""All of them, parents first."""
