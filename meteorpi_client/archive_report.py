"""What reading an archive found."""

from __future__ import annotations

from dataclasses import dataclass, field

from meteorpi_model.values import JsonObject


@dataclass(frozen=True)
class Finding:
    """Something about one entry.

    Attributes:
        name: of the entry; empty for the whole archive.
        reason: a sentence for a person.
    """

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ArchiveReport:
    """What a check found.

    Attributes:
        entries: that were read; directories do not count.
        size_bytes: of their contents.
        has_manifest: whether there was one to compare with.
        damage: what makes it a bad zip.
        differences: from the manifest.
        failed: what could not be had, or not whole, while the archive was made, as its last entry says.
        left_out: what was known not to be there when it was planned, as the manifest says.
        unread: what is under a password that was not given, or another one.
    """

    entries: int = 0
    size_bytes: int = 0
    has_manifest: bool = False
    damage: list[Finding] = field(default_factory=list)
    differences: list[Finding] = field(default_factory=list)
    failed: list[Finding] = field(default_factory=list)
    left_out: list[Finding] = field(default_factory=list)
    unread: list[Finding] = field(default_factory=list)

    @property
    def is_intact(self) -> bool:
        """Whether every byte that could be read is as the archive itself says."""
        return not self.damage

    @property
    def is_right(self) -> bool:
        """Whether all was read, nothing failed, and it holds what its manifest says, if there is one."""
        return not (self.damage or self.differences or self.failed or self.unread)

    def as_dict(self) -> JsonObject:
        """For JSON output."""

        def rows(findings: list[Finding]) -> list[JsonObject]:
            return [{"name": finding.name, "reason": finding.reason} for finding in findings]

        return {
            "entries": self.entries,
            "size_bytes": self.size_bytes,
            "manifest": self.has_manifest,
            "intact": self.is_intact,
            "right": self.is_right,
            "damage": rows(self.damage),
            "differences": rows(self.differences),
            "failed": rows(self.failed),
            "left_out": rows(self.left_out),
            "unread": rows(self.unread),
        }
