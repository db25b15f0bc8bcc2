"""Killed at any moment of an upload or a removal: the old state or the new one, and nothing is left over."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meteorpi_db.testing.servers import PASSWORD, USER
from meteorpi_model import now
from tests.blocks.hammering import application
from tests.blocks.killed import NEW, OLD, killing, path_of, request
from tests.blocks.making import PREFIX, StoredBlocks
from tests.blocks.signed_in import add_users
from tests.blocks.test_many_processes import check_tidiness
from tests.conftest import OpenDatabase
from tests.db.making import StandingClock

STATES: dict[str, tuple[bytes | None, bytes | None]] = {
    "create": (None, NEW),
    "replace": (OLD, NEW),
    "delete": (OLD, None),
}
"""Before and after each task."""


@pytest.fixture
def kill_at_every_moment(
    open_database: OpenDatabase, new_database: Callable[[], str], file_store_path: str
) -> Callable[..., int]:
    """Call it with the detail, if need be with tasks; gives the number of kills."""

    def run(detail: str, *tasks: str) -> int:
        db_path, clock, kills = new_database(), StandingClock(now()), 0
        db = open_database(db_path, db_user=USER, db_password=PASSWORD, clock=clock)
        add_users(db, "anna")
        StoredBlocks(db).make()
        client = application(db).app.test_client()

        def content(path: str) -> bytes | None:
            reply = client.get(f"/api/v0/files/{PREFIX}/{path}", buffered=True)
            assert reply.status_code in (200, 404)
            return reply.data if reply.status_code == 200 else None

        with killing(db_path, file_store_path, detail) as moments:
            for task in tasks or STATES:
                before, after = STATES[task]
                for at, is_answered in moments(task):
                    path = path_of(task, at)
                    assert content(path) in ((after,) if is_answered else (before, after))
                    assert request(client, task, path) == 204
                    assert content(path) == after
                    kills += not is_answered
        check_tidiness(db, clock)
        return kills

    return run


@pytest.mark.contract("K-405", "K-406", "J-04/killed", "issue-5/kill")
@pytest.mark.engines("sqlite")
def test_killed_at_any_step(kill_at_every_moment: Callable[..., int]) -> None:
    assert kill_at_every_moment("steps") > 40


@pytest.mark.contract("K-405", "K-406", "J-04/killed", "issue-5/kill")
@pytest.mark.engines("firebird", "firebird-embedded", "postgresql")
def test_killed_around_any_commit(kill_at_every_moment: Callable[..., int]) -> None:
    assert kill_at_every_moment("commits") > 9


@pytest.mark.contract("K-405", "J-04/killed", "issue-5/kill", "J-02")
@pytest.mark.engines("postgresql")
@pytest.mark.stores("s3")
def test_killed_at_any_request_to_a_service(kill_at_every_moment: Callable[..., int]) -> None:
    assert kill_at_every_moment("requests", "create", "delete") > 9
