"""What whoever runs a node changes of blocks, on every engine."""

from __future__ import annotations

from datetime import timedelta

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks.administration import BlockAdministration, account_named
from meteorpi_db.blocks.directory import BlockDirectory
from meteorpi_model.errors import ConflictError, NotAllowedError, NotFoundError
from tests.blocks.making import ACCOUNT, PREFIX, StoredBlocks
from tests.blocks.signed_in import add_users


@pytest.mark.contract("K-503")
def test_tokens_limits_and_prefixes_on_every_engine(db: MeteorDatabase) -> None:
    administration = BlockAdministration(db.transactions, db.clock)
    assert (administration.is_unused(), administration.holds_ancestor()) == (True, False)
    add_users(db, "anna")
    secret = administration.add_token(ACCOUNT, "laptop", db.clock() + timedelta(days=1))
    account = administration.change_account(ACCOUNT, {"quota": 10, "max_objects": 3, "is_active": True})
    made = administration.create_prefix(ACCOUNT, PREFIX, {"label": "mine", "is_append_only": True})
    blocks = StoredBlocks(db)
    for path in "ab":
        blocks.store(path, b"12345")

    found = BlockDirectory(db).account_of_token(secret, None)
    (usage,) = administration.usage(None)
    assert found is not None
    assert (found.quota_bytes, account.max_objects, made.label) == (10, 3, "mine")
    assert (usage.account.used, usage.account.objects, usage.sent) == (10, 2, 0)
    assert [token.name for token in administration.tokens_of(ACCOUNT)].count("laptop") == 1
    assert administration.is_unused() is False
    with pytest.raises(ConflictError):
        administration.create_prefix(ACCOUNT, PREFIX, {})
    with pytest.raises(ConflictError):
        administration.delete_prefix(PREFIX)
    with pytest.raises(NotAllowedError):
        administration.begin_leaving(PREFIX, is_append_only=False, retain_days=0)

    administration.change_prefix(PREFIX, {"is_append_only": False})
    with pytest.raises(NotAllowedError):
        administration.begin_leaving(PREFIX, is_append_only=False, retain_days=1)
    administration.begin_leaving(PREFIX, is_append_only=False, retain_days=0)
    assert administration.remove_some(PREFIX) == (2, True)
    assert blocks.counted() == (0, 0)
    with pytest.raises(NotFoundError):
        administration.change_prefix(PREFIX, {"label": "again"})
    administration.revoke_token(ACCOUNT, "laptop")
    assert BlockDirectory(db).account_of_token(secret, None) is None


def test_tokens_go_with_the_user_and_do_not_come_back_with_the_name(db: MeteorDatabase) -> None:
    administration = BlockAdministration(db.transactions, db.clock)
    add_users(db, "anna", "bert")
    gone = administration.add_token(ACCOUNT, "laptop", None)
    kept = administration.add_token("local:bert", "laptop", None)

    db.delete_user("anna", keep_administrator=False)
    add_users(db, "anna")

    directory = BlockDirectory(db)
    assert directory.account_of_token(gone, None) is None
    assert directory.account_of_token(kept, None) is not None


@pytest.mark.contract("K-503")
def test_accounts_are_named_as_people_name_them() -> None:
    names = [account_named(name) for name in ("anna", "local:anna", "remote:5", "other:anna")]

    assert names == ["local:anna", "local:anna", "remote:5", "local:other:anna"]
