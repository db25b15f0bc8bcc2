"""The settings of blocks about limits, links, and who sends large objects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from meteorpi_db.blocks.sweeping import READERS_GRACE
from meteorpi_server.block_settings import BlockSettings
from meteorpi_server.declarations import setting

WEEK_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class BlockLimitSettings(BlockSettings):
    """Settings of a node and of the blocks that it keeps, limits among them."""

    block_max_objects: int = setting(0, "most blocks that an account may keep; 0: any number")
    block_max_prefixes: int = setting(0, "most prefixes that an account may have; 0: any number")
    block_transfers: int = setting(
        10, "transfers of a process at the file store at the same time, half of them reading", minimum=1
    )
    block_transfer_wait_seconds: int = setting(30, "longest wait for a turn at it, in seconds", minimum=1)
    block_upload_stall_timeout: int = setting(
        60, "after so long without a byte an upload is cut, in seconds", minimum=1
    )
    block_traffic_soft_rate: int = setting(
        0,
        "beyond what may be read of an account in a month, send at this rate, in bytes a second together; "
        "0: refuse",
    )
    block_traffic_keep_months: int = setting(24, "how many months back it is known what was read", minimum=1)
    block_verify_names: str = setting(
        "off",
        "blocks: what lies below block/ or blocks/ and is called by 64 hexadecimal digits has this SHA-256",
        choices=("off", "blocks"),
    )
    block_offload: str = setting(
        "none",
        "who sends large blocks: the node, the object store by a redirect, or the web server in front",
        choices=("none", "redirect", "accel"),
    )
    block_offload_min: int = setting(8 << 20, "from how many bytes on a block is large")
    block_offload_seconds: int = setting(
        300, "how long the address of a redirect is good, in seconds", minimum=1, maximum=WEEK_SECONDS
    )
    block_link_seconds: int = setting(WEEK_SECONDS, "longest life of a signed link, in seconds", minimum=1)
    block_link_keys: str = setting(
        "",
        "keys that links are signed with, apart by spaces: the first signs, all are accepted; empty: the key "
        "of this node",
        is_secret=True,
    )
    block_accounting_routes: bool = setting(
        False, "answer other servers about accounts that show block_accounting_secret"
    )

    @property
    def block_readers_grace(self) -> timedelta:
        """For how long bytes that no object has any more stay, since somebody may be about to read them.

        That is who waits for a turn, and who was given the address of the bytes.
        """
        given = self.block_offload_seconds if self.block_offload == "redirect" else 0
        return READERS_GRACE + timedelta(seconds=max(given, self.block_transfer_wait_seconds))
