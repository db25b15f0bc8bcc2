"""The audit log: everything that is written down can be read again, newest first."""

from __future__ import annotations

import pytest

from tests.conftest import OpenDatabase
from tests.db.making import StandingClock


@pytest.mark.contract("B-59", "issue-2.4/audit")
def test_entries_come_newest_first_in_pages(open_database: OpenDatabase) -> None:
    clock = StandingClock()
    db = open_database(clock=clock)
    for number in range(5):
        db.record_audit("ann ☄", "user.delete", f"user {number}", detail="why", address="::1")
        clock.move(seconds=1)

    first = db.get_audit_log(limit=2)
    second = db.get_audit_log(limit=9, before_id=first[-1].entry_id)

    assert [entry.subject for entry in first + second] == [f"user {number}" for number in (4, 3, 2, 1, 0)]
    entry = first[0]
    assert (entry.actor, entry.action, entry.detail, entry.address) == ("ann ☄", "user.delete", "why", "::1")
    clock.move(seconds=-1)
    assert entry.recorded_at == clock()


@pytest.mark.contract("B-59")
def test_whatever_happened_is_written_down(open_database: OpenDatabase) -> None:
    db = open_database()

    db.record_audit("a\x00\ud800" + "x" * 1000, "y" * 1000, "z" * 1000, "d" * 10_000, "1" * 100)
    db.record_audit("", "", "")

    empty, entry = db.get_audit_log()
    assert entry.actor.startswith("a\ufffd?x")
    assert len(entry.detail or "") == 4096
    assert (empty.detail, empty.address) == (None, None)
    with pytest.raises(ValueError, match="limit"):
        db.get_audit_log(limit=0)
