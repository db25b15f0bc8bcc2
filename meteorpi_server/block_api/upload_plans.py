"""What an upload of several requests is to become, from what a client says of it.

Source: K-302 of the storage contract.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from meteorpi_db.blocks.changes import Upload
from meteorpi_db.blocks.conditions import Demands
from meteorpi_db.blocks.names import checked_path, checked_prefix
from meteorpi_db.blocks.uploads import Kind, Plan
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_server.block_api.objects import FALLBACK_TYPE, KEPT_TYPES
from meteorpi_server.block_api.receiving import new_upload_id

KEYS: Final = frozenset({"prefix", "path", "sha256", "filetype", "if_match", "if_none_match"})
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")


def plan_of(said: Mapping[str, str], length: int | None, kind: Kind, metadata: str = "") -> Plan:
    """The upload that a client wants.

    Args:
        said: texts by their keys; those that are not among `KEYS` mean nothing here.
        length: announced bytes, None for none.
        kind: how the bytes come.
        metadata: what is to be given back word for word.

    Raises:
        InvalidDocumentError: something is missing, or cannot be read.
        NotFoundError: there can be no such object.
    """
    for key in ("prefix", "path"):
        if key not in said:
            raise InvalidDocumentError(f"{key} is missing", pointer=f"/{key}")
    sha256 = said.get("sha256")
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise InvalidDocumentError("sha256 has 64 hexadecimal digits", pointer="/sha256")
    upload = Upload(
        prefix=checked_prefix(said["prefix"]),
        path=checked_path(said["path"]),
        demands=Demands(if_match=said.get("if_match"), if_none_match=said.get("if_none_match")),
        media_type=said["filetype"] if said.get("filetype") in KEPT_TYPES else FALLBACK_TYPE,
        upload_id=new_upload_id(),
    )
    digest = None if sha256 is None else sha256.lower()
    return Plan(upload=upload, kind=kind, length=length, sha256=digest, metadata=metadata)
