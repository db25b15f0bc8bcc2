"""The tables of blocks, which every node has, whether it offers blocks or not.

They came with version 3 of the schema. Names follow the storage contract, F.1.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)

from meteorpi_db.dialects import ASCENDING_ONLY, AsciiText, ExactText, HexDigest, Identifier, LongText
from meteorpi_db.tables import NAME_LENGTH, metadata

ACCOUNT_LENGTH = 128
PREFIX_LENGTH = 64
PATH_LENGTH = 1024
"""Columns have room for one more, which listings use for the end of a folder."""

POLICY_LENGTH = 10
OPERATION_LENGTH = 10
SOURCE_LENGTH = 10
KIND_LENGTH = 10


def _account(*, is_key: bool = False) -> Column[str]:
    return Column(
        "account_id",
        ExactText(ACCOUNT_LENGTH),
        ForeignKey("block_account.account_id", ondelete="CASCADE"),
        primary_key=is_key,
    )


def _prefix() -> Column[str]:
    return Column(
        "prefix",
        AsciiText(PREFIX_LENGTH),
        ForeignKey("block_prefix.name", ondelete="CASCADE"),
        nullable=False,
    )


def _bytes(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, default=0)


block_account = Table(
    "block_account",
    metadata,
    Column("account_id", ExactText(ACCOUNT_LENGTH), primary_key=True),
    Column("source", ExactText(SOURCE_LENGTH), nullable=False),
    Column("is_active", Boolean(create_constraint=False), nullable=False, default=True),
    # What the node's own administrator allows; none takes the default, or what an accounting server says.
    Column("quota", BigInteger),
    Column("traffic_quota", BigInteger),
    # The same for numbers of objects and prefixes; zero is any number.
    Column("max_objects", BigInteger),
    Column("max_prefixes", BigInteger),
    # By which other servers know it that ask this node about its accounts; given when first needed.
    Column("number", Integer),
    _bytes("used"),
    _bytes("objects"),
    # Counted up by whoever is about to change anything of the account, which makes them wait for each other.
    _bytes("turn"),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("number", name="uq_block_account_number"),
)

block_prefix = Table(
    "block_prefix",
    metadata,
    Column("name", AsciiText(PREFIX_LENGTH), primary_key=True),
    _account(),
    Column("label", ExactText(NAME_LENGTH), nullable=False, default=""),
    Column("read_policy", ExactText(POLICY_LENGTH)),
    Column("is_append_only", Boolean(create_constraint=False), nullable=False, default=False),
    Column("quota", BigInteger),
    _bytes("used"),
    _bytes("objects"),
    # Number of the last event; counted up like the turn of an account.
    _bytes("sequence"),
    Column("is_leaving", Boolean(create_constraint=False), nullable=False, default=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_block_prefix_account", "account_id", "name", info=ASCENDING_ONLY),
)

block_content = Table(
    "block_content",
    metadata,
    Column("content_id", Identifier, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", HexDigest(64), nullable=False),
    Column("md5", HexDigest(32), nullable=False),
    Column("crc32", BigInteger, nullable=False),
    Column("uses", Integer, nullable=False),
    Column("stored_at", BigInteger, nullable=False),
    # When the last object let go of it; its bytes may be removed then.
    Column("released_at", BigInteger),
    Column("verified_at", BigInteger),
    Column("is_corrupt", Boolean(create_constraint=False), nullable=False, default=False),
    Index("ix_block_content_released", "released_at", info=ASCENDING_ONLY),
    Index("ix_block_content_sha256", "sha256", info=ASCENDING_ONLY),
)

block_object = Table(
    "block_object",
    metadata,
    _prefix(),
    Column("path", AsciiText(PATH_LENGTH + 1), nullable=False),
    Column("content_id", Identifier, ForeignKey("block_content.content_id"), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", HexDigest(64), nullable=False),
    Column("media_type", ExactText(NAME_LENGTH), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("prefix", "path"),
    Index("ix_block_object_content", "content_id", info=ASCENDING_ONLY),
)

block_traffic = Table(
    "block_traffic",
    metadata,
    _account(is_key=True),
    # Year and month of UTC as a number, such as 202611.
    Column("traffic_month", Integer, primary_key=True),
    _bytes("sent"),
    CheckConstraint(
        "traffic_month - (traffic_month / 100) * 100 BETWEEN 1 AND 12", name="ck_block_traffic_month"
    ),
)

block_upload = Table(
    "block_upload",
    metadata,
    Column("upload_id", ExactText(64), primary_key=True),
    # Of one request, resumable, or direct.
    Column("kind", ExactText(KIND_LENGTH), nullable=False, default="request"),
    Column("content_id", Identifier, nullable=False),
    _account(),
    _prefix(),
    Column("path", AsciiText(PATH_LENGTH + 1), nullable=False),
    # How much of the quota is kept for it until it lapses.
    _bytes("reserved"),
    Column("length", BigInteger),
    Column("demands", LongText, nullable=False),
    Column("begun_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("lock_owner", ExactText(64)),
    Column("locked_at", BigInteger),
    Column("finished_as", HexDigest(64)),
    UniqueConstraint("content_id", name="uq_block_upload_content"),
    Index("ix_block_upload_account", "account_id", "expires_at", info=ASCENDING_ONLY),
    Index("ix_block_upload_expiry", "expires_at", info=ASCENDING_ONLY),
)

block_event = Table(
    "block_event",
    metadata,
    _prefix(),
    Column("number", BigInteger, nullable=False),
    Column("operation", ExactText(OPERATION_LENGTH), nullable=False),
    Column("path", AsciiText(PATH_LENGTH + 1), nullable=False),
    Column("sha256", HexDigest(64)),
    Column("size_bytes", BigInteger),
    Column("occurred_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("prefix", "number"),
    Index("ix_block_event_time", "occurred_at", info=ASCENDING_ONLY),
)

block_token = Table(
    "block_token",
    metadata,
    Column("digest", HexDigest(64), primary_key=True),
    _account(),
    Column("name", ExactText(NAME_LENGTH), nullable=False),
    Column("scopes", ExactText(NAME_LENGTH), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("last_used_at", BigInteger),
    Index("ix_block_token_account", "account_id", info=ASCENDING_ONLY),
    UniqueConstraint("account_id", "name", name="uq_block_token_name"),
)

block_link = Table(
    "block_link",
    metadata,
    Column("link_id", HexDigest(32), primary_key=True),
    _prefix(),
    Column("path", AsciiText(PATH_LENGTH + 1), nullable=False),
    Column("uses_left", Integer, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_block_link_expiry", "expires_at", info=ASCENDING_ONLY),
)

TABLES = (
    block_account,
    block_prefix,
    block_content,
    block_object,
    block_traffic,
    block_upload,
    block_event,
    block_token,
    block_link,
)
"""All of them, parents first."""
