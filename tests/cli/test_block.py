"""``meteorpi block``: tokens, accounts, prefixes, what they use, and other names of commands of stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks import prefixes, traffic
from meteorpi_db.blocks.directory import BlockDirectory
from meteorpi_model import User
from tests.blocks.making import ACCOUNT, PREFIX, StoredBlocks
from tests.cli.conftest import Meteorpi

GIB = 1 << 30


@pytest.fixture
def anna(node: MeteorDatabase) -> StoredBlocks:
    """The blocks of a user of the node, who has a prefix with an object."""
    node.create_or_update_user("anna", "sesame open", [User.roles[0]])
    blocks = StoredBlocks(node)
    blocks.make()
    blocks.store("a", b"12345")
    return blocks


@pytest.mark.contract("D.1/local", "K-503/token", "F.1/block_token")
def test_tokens_are_made_listed_and_revoked(
    meteorpi: Meteorpi, node: MeteorDatabase, anna: StoredBlocks
) -> None:
    made = meteorpi("block", "token", "add", "anna", "laptop", "--expires", "2100-01-01", "--json").json
    again = meteorpi("block", "token", "add", "anna", "laptop")
    nobody = meteorpi("block", "token", "add", "nobody", "laptop")
    foreign = meteorpi("blocks", "token", "add", "remote:5", "laptop")
    found = BlockDirectory(node).account_of_token(made["secret"], None)
    listed = meteorpi("block", "token", "list", "anna")
    told = meteorpi("block", "token", "list", "--json").json

    assert (made["account"], found.account_id if found else None) == (ACCOUNT, "anna")
    assert (again.code, nobody.code, foreign.code) == (2, 2, 2)
    assert "has a token called 'laptop'" in again.err
    assert made["secret"] not in listed.out + json.dumps(told)
    assert "2100-01-01 00:00:00" in listed.out
    assert (told["name"], told["last_used_at"] is None) == ("laptop", False)

    revoked, missing = (meteorpi("block", "token", "revoke", "anna", "laptop") for _ in range(2))
    assert (revoked.code, missing.code) == (0, 2)
    assert BlockDirectory(node).account_of_token(made["secret"], None) is None
    assert [entry.action for entry in node.get_audit_log()] == ["blocks.token.revoke", "blocks.token.create"]


@pytest.mark.contract("K-202", "K-212", "K-503/account", "F.1/block_account")
def test_accounts_are_listed_and_limited(
    meteorpi: Meteorpi, node: MeteorDatabase, anna: StoredBlocks
) -> None:
    node.transactions.write(lambda c: prefixes.ensure_account(c, "remote:5", "remote", 0))
    options = ("--quota", "5G", "--traffic", "0", "--max-objects", "7", "--disable")

    before = meteorpi("block", "account", "list", "--json").rows
    changed = meteorpi("block", "account", "set", "anna", *options, "--json").json
    locked = BlockDirectory(node).account_called("anna")
    back = meteorpi("block", "account", "set", "anna", "--quota", "default", "--enable", "--json").json
    refused = [
        meteorpi("block", "account", "set", *arguments).code
        for arguments in (("remote:5", "--quota", "1"), ("nobody", "--enable"), ("anna", "--quota", "-1"))
    ]

    facts: dict[str, Any] = {"account": ACCOUNT, "is_active": True, "used": 5, "objects": 1}
    limits = {"quota": 2 * GIB, "traffic_quota": 20 * GIB, "max_objects": 0, "max_prefixes": 0}
    nothing = dict.fromkeys(limits)
    assert before == [facts | limits, facts | nothing | {"account": "remote:5", "used": 0, "objects": 0}]
    limits |= {"quota": 5 * 10**9, "traffic_quota": 0, "max_objects": 7}
    assert changed == facts | limits | {"is_active": False}
    assert locked is not None
    assert (locked.is_active, locked.quota_bytes, locked.monthly_traffic_bytes) == (False, 5 * 10**9, 0)
    assert (back["is_active"], back["quota"], back["traffic_quota"]) == (True, 2 * GIB, 0)
    assert refused == [2, 2, 2]


@pytest.mark.contract("K-230", "K-212", "K-207", "K-503/prefix", "F.1/block_prefix")
def test_prefixes_are_made_changed_and_removed(
    meteorpi: Meteorpi, node: MeteorDatabase, anna: StoredBlocks
) -> None:
    named = meteorpi("block", "prefix", "create", "anna", "photos", "--label", "Photos", "--json").json
    other = meteorpi("block", "prefix", "create", "anna", "--append-only", "--quota", "1k", "--json").json
    meteorpi("block", "prefix", "set", other["prefix"], "--read-policy", "owner")
    ended = meteorpi(
        *("block", "prefix", "set", other["prefix"], "--no-append-only", "--quota", "default", "--json")
    ).json
    public = meteorpi("block", "prefix", "set", other["prefix"], "--read-policy", "server", "--json").json
    refused = [
        meteorpi("block", "prefix", *arguments).code
        for arguments in (
            ("create", "anna", "photos"),
            ("create", "nobody"),
            ("create", "remote:5"),
            ("create", "anna", "no/prefix"),
            ("set", "missing", "--label", "x"),
            ("delete", "missing"),
            ("delete", PREFIX),
        )
    ]

    assert (named["prefix"], named["account"], named["label"]) == ("photos", ACCOUNT, "Photos")
    assert (other["append_only"], other["quota"], len(other["prefix"])) == (True, 1000, 36)
    assert (ended["append_only"], ended["quota"], ended["read_policy"]) == (False, None, "owner")
    assert public["read_policy"] is None
    assert refused == [2] * 7
    assert meteorpi("block", "prefix", "delete", "photos").code == 0
    shown = meteorpi("block", "prefix", "list", "anna").out
    assert PREFIX in shown
    assert "photos" not in shown
    assert len(meteorpi("block", "prefix", "list", "--json").rows) == 2


@pytest.mark.contract("C/prefix-removal", "K-214")
def test_prefix_goes_with_everything_below_it_unless_that_has_to_stay(
    meteorpi: Meteorpi, anna: StoredBlocks
) -> None:
    for number in range(3):
        anna.store(f"b/{number}", b"more")
    meteorpi("block", "prefix", "set", PREFIX, "--append-only")
    kept = meteorpi("block", "prefix", "delete", PREFIX, "--recursive")
    meteorpi("block", "prefix", "set", PREFIX, "--no-append-only")
    gone = meteorpi("block", "prefix", "delete", PREFIX, "--recursive", "--json")
    again = meteorpi("block", "prefix", "delete", PREFIX, "--recursive", "--json")

    assert (kept.code, gone.code) == (2, 0)
    assert gone.json == {"prefix": PREFIX, "objects": 4, "complete": True}
    assert (again.code, again.json["objects"]) == (0, 0)
    assert (anna.counted(), anna.recounted()) == ((0, 0), (0, 0))
    assert meteorpi("block", "prefix", "set", PREFIX, "--label", "x").code == 2


@pytest.mark.contract("K-223", "K-503/usage")
def test_usage_is_shown_by_month(meteorpi: Meteorpi, node: MeteorDatabase, anna: StoredBlocks) -> None:
    month = traffic.month_of(node.clock())
    node.transactions.write(lambda c: traffic.add(c, {ACCOUNT: 1000}, 201605))
    node.transactions.write(lambda c: traffic.add(c, {ACCOUNT: 7}, month))

    rows = meteorpi("block", "usage", "anna", "--json").rows
    shown = meteorpi("block", "usage")
    unknown = meteorpi("block", "usage", "bert")

    written = f"{month // 100:04}-{month % 100:02}"
    assert [(row["month"], row["traffic"]) for row in rows] == [(written, 7), ("2016-05", 1000)]
    assert {(row["used"], row["objects"], row["quota"]) for row in rows} == {(5, 1, 2 * GIB)}
    assert (shown.code, "2016-05" in shown.out, unknown.code) == (0, True, 2)


@pytest.mark.contract("B.6/recount", "K-503/scrub", "K-503/copy", "K-503/recount", "issue-5.4")
def test_stores_are_looked_after_under_other_names(
    meteorpi: Meteorpi, node: MeteorDatabase, anna: StoredBlocks, home: Path
) -> None:
    clean = [
        meteorpi("block", *arguments)
        for arguments in (("scrub",), ("recount",), ("copy", home / "files", home / "copies"))
    ]
    (content,) = list(node.store.ids())
    (home / "files" / content.hex).write_bytes(b"wrong")
    damaged = meteorpi("block", "scrub", "--json")
    mended = meteorpi("blocks", "scrub", "--from", home / "copies")

    assert [done.code for done in clean] == [0, 0, 0]
    assert (damaged.code, damaged.json["deep"], damaged.json["clean"]) == (1, True, False)
    assert mended.code == 0
    assert (home / "files" / content.hex).read_bytes() == b"12345"


@pytest.mark.contract("K-500", "K-503", "A.14/yaml")
def test_commands_go_by_what_the_files_of_the_server_say(
    meteorpi: Meteorpi, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("METEORPI_DB_PATH")
    (home / "qabel.yaml").write_text(
        "qabel: {block: {psql-dsn: 'sqlite:///other.db', local-storage: objects}}"
    )
    meteorpi("--db-path", "other.db", "users", "set", "anna", "--password-file", "-", given="sesame open\n")

    assert meteorpi("block", "token", "add", "anna", "laptop").code == 0
    assert meteorpi("block", "scrub").code == 0
    assert (home / "objects").is_dir()
    (home / "wrong.yaml").write_text("qabel: {block: {prot: 1}}")
    refused = meteorpi("block", "--options-file", "wrong.yaml", "token", "list")
    assert (refused.code, "Did you mean port?" in refused.err) == (2, True)


@pytest.mark.contract("K-201", "KD-20")
@pytest.mark.parametrize("command", [("block", "serve", "--port=0"), ("serve", "--port", "0")])
@pytest.mark.parametrize("setting", ["METEORPI_BLOCK_STORE", "METEORPI_FILE_STORE"])
def test_storage_that_forgets_does_not_start_by_accident(
    meteorpi: Meteorpi, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], setting: str
) -> None:
    monkeypatch.setenv("METEORPI_ROUTES", "node,block")
    monkeypatch.setenv(setting, "memory:")

    done = meteorpi(*command)

    assert (done.code, "METEORPI_BLOCK_INSECURE" in done.err) == (2, True)


@pytest.mark.contract("K-503", "KD-20")
def test_help_shows_defaults_and_wrong_options_are_named(meteorpi: Meteorpi) -> None:
    shown = meteorpi("block", "serve", "--help").out

    for default in ("127.0.0.1", "8888", "2147483648", "6379", "100000000", "midnight"):
        assert f"Default: {default}" in " ".join(shown.split())
    assert meteorpi("block", "serve", "--prot", "1").code == 2
    insecure = meteorpi("block", "serve", "--dummy-auth", "WORD", "--port", "0")
    guessed = meteorpi("block", "serve", "--apisecret", "secret", "--port", "0")
    assert (insecure.code, guessed.code) == (2, 2)
