"""Limits of numbers, names that are digests, links that are used up, months that are forgotten."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from sqlalchemy import update

from meteorpi_db.blocks import links, names, prefixes, traffic
from meteorpi_db.blocks.numbers import AccountNumbers
from meteorpi_db.blocks.register import BlockRegister
from meteorpi_db.blocks.tables import block_account
from meteorpi_model.errors import DigestMismatchError, QuotaReachedError
from tests.blocks.making import ACCOUNT, NOW, PREFIX, Blocks, digest

SQLITE = pytest.mark.engines("sqlite")


def set_limits(blocks: Blocks, **values: int | None) -> None:
    this = update(block_account).where(block_account.c.account_id == ACCOUNT)
    blocks.transactions.write(lambda c: c.execute(this.values(**values)))


@pytest.mark.contract("K-212")
@SQLITE
def test_an_account_has_so_many_objects(open_blocks: Callable[..., Blocks], blocks: Blocks) -> None:
    limited = open_blocks(max_objects=2)
    limited.store("a", b"1")
    limited.store("b", b"2")
    limited.store("b", b"replaced")
    with pytest.raises(QuotaReachedError, match="2 objects"):
        limited.store("c", b"3")
    limited.remove("a")
    limited.store("c", b"3")

    set_limits(blocks, max_objects=3)
    limited.store("d", b"4")
    with pytest.raises(QuotaReachedError, match="3 objects"):
        limited.store("e", b"5")
    set_limits(blocks, max_objects=0)
    limited.store("e", b"5")


@pytest.mark.contract("K-212")
@SQLITE
def test_an_account_has_so_many_prefixes(blocks: Blocks) -> None:
    def create(most: int) -> None:
        blocks.transactions.write(lambda c: prefixes.create_prefix(c, ACCOUNT, NOW, max_prefixes=most))

    create(2)
    with pytest.raises(QuotaReachedError, match="2 prefixes"):
        create(2)
    set_limits(blocks, max_prefixes=3)
    create(2)
    with pytest.raises(QuotaReachedError, match="3 prefixes"):
        create(2)


@pytest.mark.contract("K-232", "K-500/block_verify_names")
@SQLITE
def test_a_block_called_by_a_digest_has_it(open_blocks: Callable[..., Blocks], blocks: Blocks) -> None:
    strict, right = open_blocks(verifies_names=True), digest(b"right")
    for folder in ("block", "blocks/aa"):
        strict.store(f"{folder}/{right}", b"right")
        with pytest.raises(DigestMismatchError):
            strict.store(f"{folder}/{right}", b"wrong")
        assert strict.find(f"{folder}/{right}") == right
    strict.store(right, b"no block")
    strict.store("blocks/1", b"not called by a digest")
    blocks.store(f"blocks/{right}", b"wrong")
    assert names.digest_named(f"blocks/{right.upper()}") == right


@pytest.mark.contract("K-139")
def test_a_link_is_used_as_often_as_it_says(blocks: Blocks) -> None:
    blocks.store("a", b"1")
    link = blocks.transactions.write(lambda c: links.create(c, PREFIX, "a", 2, NOW + 100))

    def use(path: str = "a", now: int = NOW) -> bool:
        return blocks.transactions.write(lambda c: links.use(c, link, PREFIX, path, now))

    assert not use("b")
    assert not use(now=NOW + 100)
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(lambda _: use(), range(4))) == [False, False, True, True]
    assert blocks.transactions.write(lambda c: links.forget_expired(c, NOW + 99)) == 0
    assert blocks.transactions.write(lambda c: links.forget_expired(c, NOW + 100)) == 1


@pytest.mark.contract("K-223")
@SQLITE
def test_months_are_forgotten_after_a_while(blocks: Blocks) -> None:
    for month in (202410, 202411, 202412, 202611):
        blocks.transactions.write(lambda c, month=month: traffic.add(c, {ACCOUNT: 1}, month))  # type: ignore[misc]

    BlockRegister(blocks.transactions, lambda: datetime(2026, 11, 22)).forget_passed(24)

    with blocks.transactions.reading() as connection:
        assert list(traffic.months_of(connection, ACCOUNT)) == [202411, 202412, 202611]
    assert [traffic.months_before(202601, count) for count in (0, 1, 12, 13)] == [
        202601,
        202512,
        202501,
        202412,
    ]


@pytest.mark.contract("C/internal-user")
def test_accounts_get_numbers_that_stay(blocks: Blocks) -> None:
    def numbers() -> AccountNumbers:
        return AccountNumbers(blocks.transactions, lambda: datetime(2026, 11, 22), "local")

    users = [f"user {number}" for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda user: numbers().number_of(user), users))

    assert sorted(found) == [1, 2, 3, 4, 5, 6]
    assert [numbers().number_of(user) for user in users] == found
    assert [numbers().account_numbered(number) for number in found] == users
    assert numbers().account_numbered(7) is None
    assert numbers().account_numbered(10**17) is None
    assert AccountNumbers(blocks.transactions, datetime.now, "remote").account_numbered(1) is None
