"""Where accounts are kept: in the process, and in a real Redis that may fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from uuid import uuid4

import pytest
import redis

from meteorpi_db.testing.processes import wait_until
from meteorpi_db.testing.redis_server import RedisServer
from meteorpi_model.errors import ConfigurationError, NotAuthenticatedError
from meteorpi_server.block_accounts import Account
from meteorpi_server.block_accounts.accounting import AccountingServer
from meteorpi_server.block_accounts.caches import AccountCache, MemoryCache
from meteorpi_server.block_accounts.hashing import CacheKeys
from meteorpi_server.block_accounts.redis_cache import NAMESPACE, PAUSE_SECONDS, RedisCache
from meteorpi_server.block_accounts.remote import RemoteAccounts
from tests.blocks.accounting_server import SECRET, Clock, Saying, ScriptedAccounting

WAIT_SECONDS = 60
TOKEN = "Token 1c3d4ad2f1b84b5a9a2b"
ANNA = Account(
    account_id="17", source="remote", is_active=True, quota_bytes=1 << 40, monthly_traffic_bytes=1 << 41
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def own_redis(redis_server: RedisServer) -> Iterator[RedisServer]:
    """One that may be stopped; the shared one proves that the program is there."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def open_redis(redis_server: RedisServer, clock: Clock) -> Iterator[Callable[..., RedisCache]]:
    """Opens caches in a Redis, the shared one unless said otherwise."""
    opened: list[RedisCache] = []

    def open_cache(server: RedisServer = redis_server, seconds: float = WAIT_SECONDS) -> RedisCache:
        opened.append(RedisCache(server.url, socket_seconds=seconds, monotonic=clock))
        return opened[-1]

    yield open_cache
    for cache in opened:
        cache.close()


@pytest.fixture
def accounting() -> Iterator[ScriptedAccounting]:
    with ScriptedAccounting() as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def cache(request: pytest.FixtureRequest, clock: Clock) -> AccountCache:
    if request.param == "memory":
        return MemoryCache(monotonic=clock)
    opened: AccountCache = request.getfixturevalue("open_redis")()
    return opened


@pytest.fixture
def key() -> str:
    """A name that no other test uses."""
    return uuid4().hex


@pytest.mark.contract("K-420", "KD-26")
def test_what_is_put_is_there_with_the_time_that_is_left(cache: AccountCache, key: str) -> None:
    assert cache.get(key) is None

    cache.put(key, ANNA, 600)

    kept = cache.get(key)
    assert kept is not None
    assert kept.value == ANNA
    assert 0 < kept.seconds_left <= 600
    assert cache.failures == 0


@pytest.mark.contract("K-420")
def test_later_word_counts_and_what_is_deleted_is_gone(cache: AccountCache, key: str) -> None:
    cache.put(key, ANNA, 600)
    cache.put(key, Account(**{**vars(ANNA), "is_active": False}), 600)
    kept = cache.get(key)
    assert kept is not None
    assert not kept.value.is_active

    cache.delete(key)
    cache.delete(key)

    assert cache.get(key) is None


@pytest.mark.contract("K-420", "KD-26")
def test_memory_forgets_in_time(clock: Clock) -> None:
    cache: MemoryCache[str] = MemoryCache(monotonic=clock)
    cache.put("a", "value", 60)

    clock.seconds = 59
    assert cache.get("a") is not None
    clock.seconds = 60
    assert cache.get("a") is None

    assert len(cache) == 0


@pytest.mark.contract("K-420", "KD-26")
def test_memory_keeps_so_many_and_those_in_use(clock: Clock) -> None:
    cache: MemoryCache[int] = MemoryCache(most=100, monotonic=clock)
    cache.put("in use", 0, 60)
    for number in range(1000):
        cache.put(str(number), number, 60)
        assert cache.get("in use") is not None

    assert len(cache) == 100
    assert cache.get("999") is not None
    assert cache.get("0") is None


@pytest.mark.contract("K-420", "KD-26")
def test_everything_in_redis_expires(
    redis_server: RedisServer, open_redis: Callable[..., RedisCache], key: str
) -> None:
    cache = open_redis()
    cache.put(key, ANNA, 600)
    with closing(redis.Redis.from_url(redis_server.url)) as client:
        assert all(client.pttl(name) > 0 for name in client.scan_iter(f"{NAMESPACE}*"))

        client.pexpire(NAMESPACE + key, 1)

        wait_until(lambda: cache.get(key) is None, WAIT_SECONDS, "the end of an entry")


@pytest.mark.contract("K-420")
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        b'{"account_id": "17"}',
        json.dumps({**vars(ANNA), "is_active": 1}).encode(),
        json.dumps({**vars(ANNA), "more": 1}).encode(),
    ],
)
def test_what_cannot_be_read_is_not_there(
    redis_server: RedisServer, open_redis: Callable[..., RedisCache], key: str, text: bytes
) -> None:
    cache = open_redis()
    with closing(redis.Redis.from_url(redis_server.url)) as client:
        client.set(NAMESPACE + key, text, ex=600)

    assert cache.get(key) is None
    assert cache.failures == 1


@pytest.mark.contract("K-420", "KD-26")
def test_entry_without_an_end_is_not_ours(
    redis_server: RedisServer, open_redis: Callable[..., RedisCache], key: str
) -> None:
    cache = open_redis()
    cache.put(key, ANNA, 600)
    with closing(redis.Redis.from_url(redis_server.url)) as client:
        client.persist(NAMESPACE + key)

    assert cache.get(key) is None


def ask(
    cache: AccountCache, accounting: ScriptedAccounting, clock: Clock, **options: float
) -> RemoteAccounts:
    """A source that stands for one process."""
    server = AccountingServer(accounting.url, SECRET)
    return RemoteAccounts(server, CacheKeys(SECRET, accounting.url), cache, monotonic=clock, **options)


@pytest.mark.contract("K-420", "K-204", "K-500/block_cache", "A.11/accounts", "issue-5.3")
def test_processes_share_answers(
    accounting: ScriptedAccounting, open_redis: Callable[..., RedisCache], clock: Clock
) -> None:
    with (
        closing(ask(open_redis(), accounting, clock)) as one,
        closing(ask(open_redis(), accounting, clock)) as other,
    ):
        assert one.identify(TOKEN) == other.identify(TOKEN)
        assert other.limits_of("17").is_active

    assert len(accounting.asked) == 1


@pytest.mark.contract("K-420", "K-204")
def test_processes_share_what_is_older_too(
    accounting: ScriptedAccounting, open_redis: Callable[..., RedisCache], clock: Clock
) -> None:
    with (
        closing(ask(open_redis(), accounting, clock, fresh_seconds=0, stale_seconds=600)) as one,
        closing(ask(open_redis(), accounting, clock, fresh_seconds=0, stale_seconds=600)) as other,
    ):
        one.identify(TOKEN)
        accounting.always(Saying(500, {"error": "broken"}))

        assert other.identify(TOKEN).account_id == "17"
        assert other.figures.counted().stale == 1


@pytest.mark.contract("K-206", "KD-01")
def test_redis_holds_nothing_to_log_in_with(
    accounting: ScriptedAccounting,
    own_redis: RedisServer,
    open_redis: Callable[..., RedisCache],
    clock: Clock,
) -> None:
    with closing(ask(open_redis(own_redis), accounting, clock)) as accounts:
        accounts.identify(TOKEN)
        with closing(redis.Redis.from_url(own_redis.url)) as client:
            names = list(client.scan_iter())
            everything = repr([(name, client.get(name)) for name in names])

            assert len(names) == 2
            assert TOKEN.partition(" ")[2] not in everything
            assert SECRET not in everything
            # A name in the cache is no credential, and what the ancestor kept there is none either.
            client.hset("user-17", mapping={"user_id": 17, "is_active": 1})
            for authorization in [name.decode() for name in names] + ["user-17"]:
                with pytest.raises(NotAuthenticatedError):
                    accounts.identify(authorization)


@pytest.mark.contract("K-420", "J-04/accounting")
@pytest.mark.parametrize("fail", [RedisServer.kill, RedisServer.pause])
def test_redis_that_fails_is_a_miss_and_gets_a_rest(
    accounting: ScriptedAccounting,
    own_redis: RedisServer,
    open_redis: Callable[..., RedisCache],
    clock: Clock,
    fail: Callable[[RedisServer], None],
) -> None:
    cache = open_redis(own_redis, seconds=0.3)
    with closing(ask(cache, accounting, clock)) as accounts:

        def is_asked_again() -> bool:
            clock.seconds += PAUSE_SECONDS
            before = len(accounting.asked)
            accounts.identify(TOKEN)
            return len(accounting.asked) == before

        accounts.identify(TOKEN)
        fail(own_redis)

        assert accounts.identify(TOKEN).account_id == "17"
        assert accounts.identify(TOKEN).account_id == "17"
        assert len(accounting.asked) == 3
        assert cache.failures > 3

        own_redis.resume()
        own_redis.start()
        wait_until(is_asked_again, WAIT_SECONDS, "an answer from the cache")


@pytest.mark.contract("K-420", "I-09")
def test_unknown_credentials_cause_one_request_even_without_redis(
    accounting: ScriptedAccounting,
    own_redis: RedisServer,
    open_redis: Callable[..., RedisCache],
    clock: Clock,
) -> None:
    own_redis.kill()
    with closing(ask(open_redis(own_redis), accounting, clock)) as accounts:
        for _ in range(5):
            with pytest.raises(NotAuthenticatedError):
                accounts.identify("Token unknown")

    assert len(accounting.asked) == 1


@pytest.mark.contract("K-501")
def test_url_that_cannot_be_read_is_not_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        RedisCache("rediss+more://:password@host")

    assert "password" not in str(caught.value)
