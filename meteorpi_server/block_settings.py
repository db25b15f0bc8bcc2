"""The settings of blocks: declared here, read with the others by :mod:`meteorpi_server.settings`."""

from __future__ import annotations

from dataclasses import dataclass

from meteorpi_server.archive_settings import ArchiveSettings
from meteorpi_server.declarations import setting


@dataclass(frozen=True, kw_only=True)
class BlockSettings(ArchiveSettings):
    """Settings of a node, of its archives, and of the blocks that it keeps."""

    block_accounts: str = setting(
        "local",
        "who may keep blocks: users of this node, those of an accounting server, or whoever knows a word",
        choices=("local", "remote", "dummy"),
        heading="Blocks",
    )
    block_accounting_url: str = setting("", "address of the accounting server, for remote accounts")
    block_accounting_secret: str = setting(
        "", "what the accounting server knows this node by", is_secret=True
    )
    block_dummy_token: str = setting("", "the word of dummy accounts", is_secret=True)
    block_insecure: bool = setting(
        False, "allow dummy accounts, with which everybody may write everywhere, and objects in memory"
    )
    block_cache: str = setting(
        "memory",
        "where answers of the accounting server are kept: memory, or redis://host:port/0",
        is_secret=True,  # it may hold a password
    )
    block_events: str = setting(
        "local",
        "how processes tell each other of changes: local (there is one), database, or redis://host:port/0",
        is_secret=True,  # it may hold a password
    )
    block_listeners: int = setting(500, "how many may listen to changes in one process", minimum=1)
    block_listeners_per_account: int = setting(
        50, "how many of them for one account, or from one address", minimum=1
    )
    block_socket_ping_seconds: int = setting(
        30, "how often those who listen are asked whether they are still there", minimum=1
    )
    block_account_cache_seconds: int = setting(60, "how long an answer of the accounting server is good")
    block_account_stale_seconds: int = setting(
        0, "how much longer it is used while the accounting server does not answer; 0: not at all"
    )
    block_store: str = setting(
        "", "directory, or URL, of a file store for blocks alone; without one they are beside files"
    )
    block_quota_default: int = setting(2 << 30, "bytes that a local account may keep")
    block_traffic_default: int = setting(20 << 30, "bytes that may be read of a local account in a month")
    block_max_body_bytes: int = setting(2 << 30, "largest block in one request, in bytes", minimum=1)
    block_upload_keep_hours: int = setting(
        24, "how long an upload can be gone on with after its last byte", minimum=1
    )
    block_direct_uploads: bool = setting(
        False, "give clients signed addresses of the object store to upload to"
    )
    block_metafile_growth_bytes: int = setting(
        150 << 10, "an object that is no block may grow by less than this when the quota is reached"
    )
    block_quota_grace_bytes: int = setting(16 << 20, "until the account is so far above its quota, in bytes")
    block_read_policy: str = setting(
        "public",
        "who may read what has no policy of its own",
        choices=("public", "account", "owner", "link"),
    )
    block_append_only: bool = setting(False, "never change or remove a block")
    block_retain_days: int = setting(0, "never change or remove a block that is younger; 0: none is kept so")
    block_metrics_access: str = setting(
        "admin",
        "who may see the metrics of blocks: accounts of administrators, who shows a secret, or everybody",
        choices=("admin", "secret", "open"),
    )
    block_metrics_secret: str = setting(
        "", "what who collects them sends behind Authorization: Bearer", is_secret=True
    )
    block_metrics_port: int = setting(
        0,
        "TCP port for the metrics of blocks alone, each further process at the next; 0: none",
        maximum=65535,
    )
    metrics_dir: str = setting(
        "", "directory in which processes of this node share what they count; empty: beside the file store"
    )
