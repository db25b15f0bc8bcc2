"""Large blocks of a node with its contents on S3 are read from there."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
import requests

from meteorpi_db import MeteorDatabase
from meteorpi_db.testing.object_servers import ACCESS_KEY, SECRET_KEY, ObjectServer
from tests.blocks.signed_in import add_users, signed_in
from tests.blocks.test_routes import FILES, make_app, put

CONTENT = bytes(range(256)) * 1000


@pytest.mark.contract("K-138", "S-137")
def test_a_redirect_leads_to_the_bytes(ceph_server: ObjectServer, shared_bucket: str, tmp_path: Path) -> None:
    place = f"s3://{ACCESS_KEY}:{SECRET_KEY}@{shared_bucket}/{uuid4().hex}"
    url = f"{place}?endpoint={ceph_server.endpoint}&region=us-east-1"
    with MeteorDatabase(tmp_path / "node.db", url) as db:
        add_users(db, "anna")
        client = make_app(db, block_offload="redirect", block_offload_min=1000).app.test_client()
        prefix = client.post("/api/v0/prefix/", headers=signed_in("anna")).json["prefix"]  # type: ignore[index]
        put(client, f"{prefix}/a", CONTENT, Content_Type="image/fits")
        put(client, f"{prefix}/small", b"small")

        large, small = (client.get(f"{FILES}/{prefix}/{name}") for name in ("a", "small"))
        found = requests.get(large.headers["Location"], timeout=60)
        part = requests.get(large.headers["Location"], headers={"Range": "bytes=3-5"}, timeout=60)

    assert (large.status_code, large.data, small.data) == (307, b"", b"small")
    assert (found.content == CONTENT, found.headers["Content-Type"]) == (True, "image/fits")
    assert part.content == CONTENT[3:6]
