"""Where an S3 store is, and how it is spoken to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlencode
from uuid import UUID

from meteorpi_model.errors import InvalidDocumentError

SMALLEST_PART_BYTES = 5 << 20
"""Services refuse smaller parts, the last one excepted."""

MOST_PARTS = 10_000
"""Services refuse more."""

Addressing = Literal["auto", "path", "virtual"]
Conditional = Literal["auto", "yes", "no"]
Checksums = Literal["when_required", "when_supported"]
Client = Literal["boto3", "obstore"]

_CONTENT = re.compile(r"[0-9a-f]{32}")
_CHOICES = {
    "addressing": ("auto", "path", "virtual"),
    "conditional": ("auto", "yes", "no"),
    "checksums": ("when_required", "when_supported"),
    "client": ("boto3", "obstore"),
    "encryption": (None, "AES256", "aws:kms", "aws:kms:dsse"),
}


@dataclass(frozen=True, kw_only=True)
class S3Options:
    """What can be said about an S3 store; the names are those of the options of its URL.

    Attributes:
        bucket: its name.
        prefix: beginning of every key, without slashes at its ends; empty for the whole bucket.
        endpoint: URL of the service; None is AWS.
        region: None asks the environment, then takes ``us-east-1``.
        addressing: how the bucket is named; ``auto`` is ``path`` with an endpoint.
        storage_class: of contents, in the words of the service.
        encryption: at rest, by the service: ``AES256``, ``aws:kms``, ``aws:kms:dsse``.
        kms_key: which key, for ``aws:kms``.
        ca: file with the certificates that sign the service's; None takes those of the system.
        credentials: file with access keys in the form of AWS tools; None takes the usual chain.
        profile: section of that file.
        access_key, secret_key: instead of all that; for tests and for settings, never shown.
        connect_timeout, read_timeout: seconds.
        attempts: how often a request is sent at most.
        pool: connections kept for reuse in each process.
        part_size: bytes of a part; content up to this size is sent in one request.
        parallel: parts of one content in memory at once, sent or being filled.
        conditional: whether the service honours ``If-None-Match: *`` on writing; ``auto`` finds out.
        client: what reads contents; ``obstore`` is compiled and faster, and needs the extra
            ``meteorpi[s3-fast]``.
        checksums: whether to send and ask for the service's checksums where nobody has to.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    addressing: Addressing = "auto"
    storage_class: str | None = None
    encryption: str | None = None
    kms_key: str | None = None
    ca: str | None = None
    credentials: str | None = None
    profile: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    connect_timeout: int = 10
    read_timeout: int = 60
    attempts: int = 4
    pool: int = 32
    part_size: int = 8 << 20
    parallel: int = 3
    conditional: Conditional = "auto"
    checksums: Checksums = "when_required"
    client: Client = "boto3"

    def __post_init__(self) -> None:
        if not self.bucket:
            raise InvalidDocumentError("an S3 store needs a bucket: s3://bucket/prefix")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                allowed = ", ".join(choice for choice in choices if choice)
                raise InvalidDocumentError(f"{name} of an S3 store is one of {allowed}")
        if self.part_size < SMALLEST_PART_BYTES:
            raise InvalidDocumentError(f"part_size of an S3 store is at least {SMALLEST_PART_BYTES} bytes")
        for name in ("attempts", "pool", "parallel", "connect_timeout", "read_timeout"):
            if getattr(self, name) < 1:
                raise InvalidDocumentError(f"{name} of an S3 store is at least 1")
        for name in ("ca", "credentials"):
            path = getattr(self, name)
            if path is not None and not Path(path).is_file():
                raise InvalidDocumentError(f"{name} of an S3 store names a file that is not there: {path}")

    @property
    def is_path_style(self) -> bool:
        """Whether the bucket is a part of the path, not of the host."""
        return self.addressing == "path" or (self.addressing == "auto" and self.endpoint is not None)

    @property
    def location(self) -> str:
        """The URL of these options, without keys."""
        left_out = {"bucket", "prefix", "access_key", "secret_key"}
        changed = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name not in left_out and getattr(self, each.name) != each.default
        }
        query = urlencode(changed, safe=":/")
        path = f"/{quote(self.prefix)}" if self.prefix else ""
        return f"s3://{self.bucket}{path}" + (f"?{query}" if query else "")

    def key(self, *names: str) -> str:
        """The key of an object below the prefix."""
        return "/".join([self.prefix, *names] if self.prefix else names)

    def content_of(self, key: str) -> UUID | None:
        """The content whose object has this key, None of any other object."""
        name = key.removeprefix(self.key(""))
        return UUID(name) if _CONTENT.fullmatch(name) else None
