"""What every source of accounts has to do, and what is special about the two that ask nobody else."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meteorpi_db.blocks.directory import BlockDirectory
from meteorpi_model.errors import (
    AccountingUnavailableError,
    ConfigurationError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    TooManyAttemptsError,
)
from meteorpi_server import problems
from meteorpi_server.block_accounts import AccountOptions, AccountSource, Caller, open_accounts
from tests.blocks.accounting_server import SECRET, Saying, ScriptedAccounting, known
from tests.blocks.accounts_world import GIB, PASSWORD, USER, LocalWorld, basic, quick_passwords
from tests.conftest import OpenDatabase

pytestmark = pytest.mark.engines("sqlite")
WORD = "for development"
DUMMY = AccountOptions(source="dummy", dummy_token=WORD, is_insecure_allowed=True)
REMOTE = AccountOptions(source="remote", accounting_url="http://accounts", accounting_secret=SECRET)


@dataclass
class World:
    """A source, and who is known to it.

    Attributes:
        authorization: a good header.
        account_id: whose it is.
        disable: makes that account inactive; None where that cannot happen.
    """

    accounts: AccountSource
    authorization: str
    account_id: str
    disable: Callable[[], object] | None = None


@pytest.fixture
def node(open_database: OpenDatabase) -> Iterator[LocalWorld]:
    with quick_passwords():
        yield LocalWorld(open_database())


@pytest.fixture
def server() -> Iterator[ScriptedAccounting]:
    with ScriptedAccounting() as server:
        yield server


@pytest.fixture(params=["local", "remote", "dummy"])
def world(request: pytest.FixtureRequest, node: LocalWorld, server: ScriptedAccounting) -> Iterator[World]:
    if request.param == "local":
        yield World(node.accounts, node.token, USER, lambda: node.db.set_user_enabled(USER, False))
    elif request.param == "dummy":
        yield World(open_accounts(DUMMY, node.directory), f"Token {WORD}", "0")
    else:
        options = replace(REMOTE, accounting_url=server.url, fresh_seconds=0)
        accounts = open_accounts(options, node.directory)
        inactive = Saying(200, known(active=False))
        yield World(accounts, "Token 1c3d4ad2f1b84b5a9a2b", "17", lambda: server.always(inactive))
        accounts.close()


@pytest.mark.contract("J-01", "K-202")
def test_good_credentials_give_the_account(world: World) -> None:
    account = world.accounts.identify(world.authorization)

    assert (account.account_id, account.source) == (world.account_id, world.accounts.name)
    assert account.is_active
    assert (account.quota_bytes, account.monthly_traffic_bytes) == (2 * GIB, 20 * GIB)


@pytest.mark.contract("J-01", "KD-09")
@pytest.mark.parametrize("authorization", [None, "", "Token", "Token ", "Token unknown", "Bearer unknown"])
def test_no_or_wrong_credentials_are_refused(world: World, authorization: str | None) -> None:
    with pytest.raises(NotAuthenticatedError):
        world.accounts.identify(authorization, Caller(address="192.0.2.7"))


@pytest.mark.contract("K-206", "KD-01")
def test_known_account_lets_nobody_in_who_sends_its_name(world: World) -> None:
    world.accounts.limits_of(world.account_id)

    for authorization in (world.account_id, f"user-{world.account_id}", f"Token {world.account_id}"):
        with pytest.raises(NotAuthenticatedError):
            world.accounts.identify(authorization)


@pytest.mark.contract("K-202", "KD-02")
def test_disabled_account_is_refused_and_its_limits_are_known(world: World) -> None:
    if world.disable is None:
        pytest.skip("the dummy account is always active")
    assert world.accounts.identify(world.authorization).is_active

    world.disable()

    with pytest.raises(NotAllowedError):
        world.accounts.identify(world.authorization)
    assert not world.accounts.limits_of(world.account_id).is_active


@pytest.mark.contract("K-205")
def test_limits_are_known_without_credentials(world: World) -> None:
    assert world.accounts.limits_of(world.account_id).quota_bytes == 2 * GIB


@pytest.mark.contract("J-01")
@pytest.mark.parametrize("account_id", ["4711", "", "nobody", "-1", "1e3", "\0", "9" * 1000, "٣"])
def test_unknown_account_has_no_limits(world: World, account_id: str) -> None:
    with pytest.raises(NotFoundError):
        world.accounts.limits_of(account_id)


@pytest.mark.contract("K-170")
def test_source_that_works_says_so(world: World) -> None:
    world.accounts.check()


HEADERS = st.text(st.characters(max_codepoint=255), max_size=60)


@pytest.mark.contract("I-09")
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scheme=st.sampled_from(["", "Token ", "token  ", "Basic ", "Digest ", "Basic Og=="]), rest=HEADERS)
def test_any_header_is_refused_or_throttled_and_nothing_else(world: World, scheme: str, rest: str) -> None:
    with pytest.raises((NotAuthenticatedError, TooManyAttemptsError)):
        world.accounts.identify(scheme + rest)


@pytest.mark.contract("D.1/local", "K-208")
def test_users_of_the_node_show_their_password(node: LocalWorld) -> None:
    caller = Caller(address="192.0.2.7")
    assert node.accounts.identify(basic(USER, PASSWORD), caller).account_id == USER

    for _ in range(5):
        with pytest.raises(NotAuthenticatedError):
            node.accounts.identify(basic(USER, "wrong"), caller)
    with pytest.raises(TooManyAttemptsError):
        node.accounts.identify(basic(USER, PASSWORD), caller)


@pytest.mark.contract("K-208")
def test_unknown_tokens_are_slowed_down_by_address(node: LocalWorld) -> None:
    """Where there is no address another server asks for all of its clients."""
    caller = Caller(address="192.0.2.7")
    for _ in range(5):
        for whence in (caller, Caller()):
            with pytest.raises(NotAuthenticatedError):
                node.accounts.identify("Token unknown", whence)

    with pytest.raises(TooManyAttemptsError):
        node.accounts.identify("Token another", caller)
    assert node.accounts.identify(node.token, caller).account_id == USER


@pytest.mark.contract("D.1/local")
def test_revoked_and_expired_tokens_are_refused_at_once(node: LocalWorld) -> None:
    node.accounts.identify(node.token)

    node.revoke_token("first")

    with pytest.raises(NotAuthenticatedError):
        node.accounts.identify(node.token)
    with pytest.raises(NotAuthenticatedError):
        node.accounts.identify(f"Token {node.make_token('second', expires_at=1)}")


@pytest.mark.contract("D.1/local")
@pytest.mark.parametrize("scheme", ["token", "TOKEN"])
def test_scheme_is_written_in_any_case(node: LocalWorld, scheme: str) -> None:
    assert node.accounts.identify(node.token.replace("Token", scheme)).account_id == USER


@pytest.mark.contract("A.5/dummy", "K-201", "D.1/dummy")
def test_dummy_account_may_write_anywhere_and_is_announced(
    node: LocalWorld, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "meteorpi.block.accounts"):
        accounts = open_accounts(DUMMY, node.directory)

    assert len(caplog.records) == 1
    assert WORD not in caplog.text
    assert accounts.identify(f"Token {WORD}").may_write_anywhere
    for authorization in (f"token {WORD}", f"Token  {WORD}", f"Token {WORD} ", WORD):
        with pytest.raises(NotAuthenticatedError):
            accounts.identify(authorization)


@pytest.mark.contract("K-201", "KD-20")
@pytest.mark.parametrize(
    "options", [replace(DUMMY, is_insecure_allowed=False), replace(DUMMY, dummy_token="")]
)
def test_dummy_accounts_do_not_start_by_accident(node: LocalWorld, options: AccountOptions) -> None:
    with pytest.raises(ConfigurationError):
        open_accounts(options, node.directory)


@pytest.mark.contract("D.1/choice", "K-500/block_accounts")
@pytest.mark.parametrize(
    ("options", "word"),
    [
        (replace(REMOTE, source="elsewhere"), "local, remote or dummy"),
        (replace(REMOTE, accounting_url=""), "URL"),
        (replace(REMOTE, accounting_secret=""), "secret"),
        (replace(REMOTE, cache="http://cache"), "redis://"),
        (replace(REMOTE, accounting_ca_file="/does/not/exist.pem"), "certificates"),
    ],
)
def test_choice_that_cannot_be_made_says_why(node: LocalWorld, options: AccountOptions, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        open_accounts(options, node.directory)


@pytest.mark.contract("I-07")
def test_missing_library_names_its_extra(node: LocalWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "meteorpi_server.block_accounts.redis_cache", raising=False)

    with pytest.raises(ConfigurationError, match=r"meteorpi\[redis\]"):
        open_accounts(replace(REMOTE, cache="redis://127.0.0.1/0"), node.directory)


@pytest.mark.contract("K-501")
def test_options_show_no_secrets() -> None:
    shown = repr(replace(REMOTE, dummy_token=WORD, cache="redis://:password@host/0"))

    assert not any(secret in shown for secret in (SECRET, WORD, "password"))


@pytest.mark.contract("K-110")
def test_problem_says_when_to_ask_again() -> None:
    app = Flask(__name__)
    problems.register_handlers(app)

    @app.get("/")
    def fail() -> str:
        raise AccountingUnavailableError("nobody can say", retry_after_seconds=7)

    answer = app.test_client().get("/")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "7"
    assert answer.json is not None
    assert answer.json["code"] == "accounting-unavailable"


@pytest.mark.contract("D.1/local")
def test_database_gives_an_account_its_own_limits(node: LocalWorld) -> None:
    accounts = open_accounts(AccountOptions(), BlockDirectory(node.db, quota_bytes=5, traffic_bytes=7))

    limits = accounts.limits_of(USER)

    assert (limits.quota_bytes, limits.monthly_traffic_bytes) == (5, 7)
