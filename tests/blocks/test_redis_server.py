"""The private Redis that the tests of shared caches stand on."""

from __future__ import annotations

from contextlib import closing

import redis

from meteorpi_db.testing.redis_server import RedisServer


def test_redis_server_keeps_nothing_beyond_its_end(redis_server: RedisServer) -> None:
    """One of its own: the shared one is not stopped for this."""
    with RedisServer() as server:
        with closing(redis.Redis.from_url(server.url)) as client:
            client.set("name", b"value")

        server.restart()

        with closing(redis.Redis.from_url(server.url)) as client:
            assert client.get("name") is None
