"""A node that tells other servers what their clients may use, and one that asks it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meteorpi_model.errors import ConfigurationError, NotAuthenticatedError, NotFoundError
from meteorpi_server.block_accounts import Account, AccountSource, Caller, Limits, Provider
from meteorpi_server.block_accounts.accounting import AccountingServer
from meteorpi_server.block_accounts.base import NOBODY
from meteorpi_server.block_accounts.caches import MemoryCache
from meteorpi_server.block_accounts.hashing import CacheKeys, is_same_secret
from meteorpi_server.block_accounts.remote import RemoteAccounts
from tests.blocks.accounting_server import CONVERSATION, SECRET, Asked, Saying, ScriptedAccounting


class Known(AccountSource):
    """Whoever the conversation is about, called ``user17`` and so on."""

    name = "local"

    def __init__(self) -> None:
        answers = [line["answer"] for line in CONVERSATION if line["status"] == 200]
        self._accounts = {f"user{each['user_id']}": self._account(each) for each in answers}
        self._tokens = {
            line["question"]["auth"]: f"user{line['answer']['user_id']}"
            for line in CONVERSATION
            if line["status"] == 200 and "auth" in line["question"]
        }
        self.callers: list[Caller] = []

    def look_up(self, authorization: str | None, caller: Caller = NOBODY) -> Account:
        self.callers.append(caller)
        if authorization not in self._tokens:
            raise NotAuthenticatedError("unknown")
        return self._accounts[self._tokens[authorization]]

    def limits_of(self, account_id: str, caller: Caller = NOBODY) -> Limits:
        if account_id not in self._accounts:
            raise NotFoundError("unknown")
        return self._accounts[account_id]

    @staticmethod
    def _account(answer: dict[str, Any]) -> Account:
        return Account(
            account_id=f"user{answer['user_id']}",
            source="local",
            is_active=answer["active"],
            quota_bytes=answer["block_quota"],
            monthly_traffic_bytes=answer["monthly_traffic_quota"],
        )


class Numbers:
    """The number of ``user17`` is 17."""

    def number_of(self, account_id: str) -> int:
        return int(account_id.removeprefix("user"))

    def account_numbered(self, number: int) -> str | None:
        return f"user{number}" if number < 5000 else None


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider(Known(), Numbers(), SECRET)


@pytest.mark.contract("A.4/auth", "A.4/user_id", "C/internal-user", "A.4/404")
@pytest.mark.parametrize("line", CONVERSATION, ids=[line["name"] for line in CONVERSATION])
def test_answers_are_those_of_the_conversation(provider: Provider, line: dict[str, Any]) -> None:
    status, document = provider.answer(SECRET, json.dumps(line["question"]).encode())

    assert status == line["status"]
    assert document == line["answer"]


@pytest.mark.contract("A.4/secret", "A.4/403")
@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET + " ", SECRET[:-1], "\xff"])
def test_wrong_secret_is_told_nothing_else(provider: Provider, secret: str | None) -> None:
    for body in (b'{"user_id": 17}', b"no JSON"):
        assert provider.answer(secret, body) == (403, {"error": "Invalid API key"})
    assert not provider.is_trusted(secret)


@pytest.mark.contract("A.4/400")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"[]",
        b"{}",
        b'{"auth": "Token a", "user_id": 17}',
        b'{"auth": null, "user_id": 17}',
        b'{"auth": "Basic YTpi"}',
        b'{"auth": ""}',
        b'{"auth": 17}',
        b'{"user_id": "seventeen"}',
        b'{"user_id": null}',
        b'{"user_id": true}',
        b'{"user_id": -1}',
        b'{"user_id": 1.5}',
        b'{"user_id": 99999999999999999999999999}',
    ],
)
def test_question_that_makes_no_sense_is_refused(provider: Provider, body: bytes) -> None:
    status, document = provider.answer(SECRET, body)

    assert status == 400
    assert list(document) == ["error"]


@pytest.mark.contract("A.4/user_id", "A.4/404")
def test_number_may_be_written_as_text_and_be_of_nobody(provider: Provider) -> None:
    assert provider.answer(SECRET, b'{"user_id": "17"}')[0] == 200
    assert provider.answer(SECRET, b'{"user_id": 99999}')[0] == 404


@pytest.mark.contract("A.4/400")
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: json.dumps({"auth": text}).encode()))
def test_any_body_is_answered(provider: Provider, body: bytes) -> None:
    assert provider.answer(SECRET, body)[0] in (400, 404)


@pytest.mark.contract("A.4/request-id", "K-208")
def test_caller_is_known_by_the_request_and_not_slowed_down() -> None:
    """Another server asks for all of its clients, so those who guess must not be counted against it."""
    known = Known()

    Provider(known, Numbers(), SECRET).answer(SECRET, b'{"auth": "Token unknown"}', "0123abcd")

    assert known.callers == [Caller(address=None, request_id="0123abcd")]


@pytest.mark.contract("KD-20", "K-500/block_accounting_secret")
@pytest.mark.parametrize("secret", ["", "secret"])
def test_secret_that_everybody_guesses_stops_the_start(secret: str) -> None:
    with pytest.raises(ConfigurationError):
        Provider(Known(), Numbers(), secret)


@pytest.mark.contract("I-09")
@given(st.none() | st.text(max_size=8), st.text(max_size=8))
def test_secrets_are_the_same_or_not(given_secret: str | None, expected: str) -> None:
    assert is_same_secret(given_secret, expected) == (given_secret == expected)
    assert is_same_secret(expected, expected)


@pytest.fixture
def asking(provider: Provider) -> Iterator[RemoteAccounts]:
    """A node that asks another one, over a real connection."""

    def say(asked: Asked) -> Saying:
        status, document = provider.answer(asked.headers["apisecret"], json.dumps(asked.question).encode())
        return Saying(status, document)

    with ScriptedAccounting() as server:
        server.say = say
        client = AccountingServer(server.url, SECRET)
        with closing(RemoteAccounts(client, CacheKeys(SECRET, server.url), MemoryCache())) as accounts:
            yield accounts


@pytest.mark.contract("C/internal-user")
def test_one_node_is_the_accounting_server_of_another(asking: RemoteAccounts) -> None:
    assert asking.identify("Token 9a8b7c6d5e4f3a2b1c0d").quota_bytes == 1 << 40
    assert not asking.limits_of("18").is_active
    with pytest.raises(NotAuthenticatedError):
        asking.identify("Token unknown")
