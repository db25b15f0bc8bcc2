"""Clients and tickets of archives, as they are kept."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.clients import Client, Limits, Rights
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_db.archives.tables import TABLES, archive_plans
from meteorpi_db.archives.tickets import NewTicket, Owner, Ticket
from meteorpi_model.errors import ConflictError, InvalidDocumentError, NotFoundError
from tests.archive.moving import MovingClock

PLAN = bytes(range(256)) * 1000
LONG_SECRET = "k" * 65
# The same statements are executed by other tests on every engine; what these look at is decided before.
on_any_engine = pytest.mark.engines("sqlite")


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def register(db: MeteorDatabase, clock: MovingClock) -> ArchiveRegister:
    return ArchiveRegister(db.transactions, clock)


def client_named(register: ArchiveRegister, name: str, **options: Any) -> Client:
    register.add_client(name, **options)
    found = register.client(name)
    assert found is not None
    return found


def new_ticket(clock: Callable[[], datetime], *, hours: float = 24, **changes: Any) -> NewTicket:
    values: dict[str, Any] = {"ticket_type": "zip", "plan": PLAN, "entries": 3, "etag": "tag"}
    return NewTicket(expires_at=clock() + timedelta(hours=hours), **(values | changes))


# --- clients -------------------------------------------------------------------------------------------


@pytest.mark.contract("archive-3.3/storage", "archive-defect-13")
def test_secret_is_made_here_and_kept_as_a_digest_only(db: MeteorDatabase, register: ArchiveRegister) -> None:
    secret = register.add_client("portal")

    assert len(secret) == 96
    assert int(secret, 16)
    with db.transactions.reading() as connection:
        kept = [str(row) for table in TABLES for row in connection.execute(select(table))]
    assert not any(secret in row or secret.encode().hex() in row for row in kept)
    found = register.client_of_secret(secret)
    assert found is not None
    assert found.name == "portal"
    assert secret not in repr(found)
    assert register.client_of_secret(secret[:-1]) is None


@on_any_engine
@pytest.mark.contract("archive-3.3/storage")
def test_what_is_kept_verifies_what_the_whole_secret_signed(register: ArchiveRegister) -> None:
    made = register.add_client("made")
    register.add_client("brought", secret=LONG_SECRET)
    for name, secret in (("made", made), ("brought", LONG_SECRET)):
        client = register.client(name)
        assert client is not None
        assert client.signing_key is not None
        signed = hmac.digest(secret.encode(), b"text", "sha256")
        assert hmac.digest(client.signing_key, b"text", "sha256") == signed


@on_any_engine
@pytest.mark.contract("archive-3.3/storage")
def test_short_secret_signs_only_if_that_was_asked_for(register: ArchiveRegister) -> None:
    header_only = client_named(register, "one", secret="s" * 64)
    signer = client_named(register, "two", secret="t" * 64, signing=True)

    assert header_only.signing_key is None
    assert signer.signing_key == b"t" * 64
    assert register.client_of_secret("s" * 64) == header_only


@pytest.mark.contract("archive-3.3/clients")
def test_rights_and_limits_of_a_client_are_kept(register: ArchiveRegister) -> None:
    rights = Rights(selectors=frozenset({"url"}), prefixes=("https://example.org/a/", "https://other/"))
    limits = Limits(downloads=3)

    client = client_named(register, "portal", rights=rights, limits=limits)

    assert (client.rights, client.limits) == (rights, limits)


@on_any_engine
@pytest.mark.contract("archive-3.3/clients")
def test_disabled_client_is_known_and_not_let_in(register: ArchiveRegister) -> None:
    secret = register.add_client("portal")

    register.set_client_enabled("portal", False)
    assert register.client_of_secret(secret) is None
    assert [client.is_enabled for client in register.clients()] == [False]

    register.set_client_enabled("portal", True)
    assert register.client_of_secret(secret) is not None


@on_any_engine
@pytest.mark.contract("archive-3.3/storage")
def test_new_secret_ends_the_old_one(register: ArchiveRegister) -> None:
    old = register.add_client("portal")

    new = register.regenerate_client("portal")

    assert register.client_of_secret(old) is None
    assert register.client_of_secret(new) == register.client("portal")


def test_name_of_a_client_is_given_once(register: ArchiveRegister) -> None:
    register.add_client("portal", secret=LONG_SECRET)

    with pytest.raises(ConflictError, match="'portal'"):
        register.add_client("portal")
    with pytest.raises(ConflictError, match="this secret"):
        register.add_client("other", secret=LONG_SECRET)


@on_any_engine
@pytest.mark.parametrize("name", ["", "a b", "é", "a" * 65, "a\n"])
def test_name_of_a_client_is_plain(register: ArchiveRegister, name: str) -> None:
    with pytest.raises(InvalidDocumentError, match="name of a client"):
        register.add_client(name)


@on_any_engine
def test_unknown_client_is_named(register: ArchiveRegister) -> None:
    for change in (
        lambda: register.drop_client("nobody"),
        lambda: register.regenerate_client("nobody"),
        lambda: register.set_client_enabled("nobody", False),
    ):
        with pytest.raises(NotFoundError, match="'nobody'"):
            change()


# --- tickets -------------------------------------------------------------------------------------------


def test_ticket_keeps_what_it_was_made_of(register: ArchiveRegister, clock: MovingClock) -> None:
    options = {"filename": "nuit é.zip", "skipped": [{"index": 1, "reason": "missing"}]}

    made = register.add_ticket(new_ticket(clock, options=options, size_bytes=2**40, max_downloads=2))

    assert register.ticket(made.ticket_id) == made
    assert register.ticket_plan(made.ticket_id) == PLAN
    assert made.ticket_id.version == 4
    assert made.options == options
    assert made.created_at == clock()
    assert (made.size_bytes, made.entries, made.etag) == (2**40, 3, "tag")
    assert not made.is_gone(clock())


@on_any_engine
@pytest.mark.contract("archive-defect-7")
def test_each_ticket_has_its_own_time(register: ArchiveRegister, clock: MovingClock) -> None:
    first = register.add_ticket(new_ticket(clock))
    clock.move(5)
    second = register.add_ticket(new_ticket(clock))

    assert second.created_at - first.created_at == timedelta(seconds=5)
    assert [ticket.ticket_id for ticket in register.tickets()] == [second.ticket_id, first.ticket_id]


def test_tickets_are_listed_by_owner(
    db: MeteorDatabase, register: ArchiveRegister, clock: MovingClock
) -> None:
    db.create_or_update_user("ann", "sesame", None)
    owners = [Owner(client_named(register, "portal").client_id), Owner(user_id="ann"), Owner()]
    made: dict[Owner, list[Ticket]] = {}
    for owner in owners:
        for _ in range(2):
            made.setdefault(owner, []).append(register.add_ticket(new_ticket(clock, owner=owner)))
            clock.move(1)

    for owner in owners:
        assert register.tickets(owner) == made[owner][::-1]
        assert register.tickets(owner, limit=1, offset=1) == made[owner][:1]
        assert register.count_tickets(owner) == 2
    assert register.count_tickets() == 6


def test_tickets_go_with_their_owner(
    db: MeteorDatabase, register: ArchiveRegister, clock: MovingClock
) -> None:
    db.create_or_update_user("ann", "sesame", None)
    client = client_named(register, "portal")
    register.add_ticket(new_ticket(clock, owner=Owner(client.client_id)))
    register.add_ticket(new_ticket(clock, owner=Owner(user_id="ann")))

    register.drop_client("portal")
    db.delete_user("ann")

    assert register.count_tickets() == 0


def test_ticket_needs_an_owner_that_exists(register: ArchiveRegister, clock: MovingClock) -> None:
    with pytest.raises(ConflictError):
        register.add_ticket(new_ticket(clock, owner=Owner(uuid4())))


@pytest.mark.contract("archive-3.4/idempotency")
def test_repeated_request_gets_the_same_ticket_for_an_hour(
    register: ArchiveRegister, clock: MovingClock
) -> None:
    client = client_named(register, "portal")
    new = new_ticket(clock, owner=Owner(client.client_id), idempotency_key="one")
    first = register.add_ticket(new)

    clock.move(3599)
    assert register.add_ticket(new) == first
    assert register.add_ticket(new_ticket(clock, idempotency_key="one")) != first
    clock.move(1)
    assert register.add_ticket(new).ticket_id != first.ticket_id


def test_live_ticket_is_found_by_what_it_gives(register: ArchiveRegister, clock: MovingClock) -> None:
    owner = Owner(client_named(register, "portal").client_id)
    register.add_ticket(new_ticket(clock, owner=owner, hours=1, options={"filename": "a.zip"}))
    later = register.add_ticket(new_ticket(clock, owner=owner, hours=2, options={"filename": "a.zip"}))

    assert register.live_ticket(owner, "tag", {"filename": "a.zip"}) == later
    assert register.live_ticket(owner, "tag", {"filename": "b.zip"}) is None
    assert register.live_ticket(owner, "other", {"filename": "a.zip"}) is None
    assert register.live_ticket(Owner(), "tag", {"filename": "a.zip"}) is None
    clock.move(7200)
    assert register.live_ticket(owner, "tag", {"filename": "a.zip"}) is None


def test_published_ticket_has_a_name(register: ArchiveRegister, clock: MovingClock) -> None:
    made = register.add_ticket(new_ticket(clock, published_as="unguessable"))

    assert register.published_ticket("unguessable") == made
    with pytest.raises(NotFoundError):
        register.published_ticket("other")
    with pytest.raises(ConflictError):
        register.add_ticket(new_ticket(clock, published_as="unguessable"))


@on_any_engine
def test_withdrawn_ticket_loses_its_plan_and_stays_for_its_owner(
    register: ArchiveRegister, clock: MovingClock
) -> None:
    made = register.add_ticket(new_ticket(clock, idempotency_key="one"))

    register.withdraw(made.ticket_id)

    found = register.ticket(made.ticket_id)
    assert found.is_withdrawn
    assert found.is_gone(clock())
    with pytest.raises(NotFoundError):
        register.ticket_plan(made.ticket_id)
    assert register.add_ticket(new_ticket(clock, idempotency_key="one")).ticket_id != made.ticket_id


@on_any_engine
def test_unknown_ticket_is_not_found(register: ArchiveRegister) -> None:
    unknown = uuid4()
    for ask in (register.ticket, register.ticket_plan, register.withdraw, register.drop_ticket):
        with pytest.raises(NotFoundError):
            ask(unknown)
    register.note_download(unknown, bytes_sent=5)  # it went while it was downloaded


def test_plan_is_replaced_by_one_that_knows_more(register: ArchiveRegister, clock: MovingClock) -> None:
    made = register.add_ticket(new_ticket(clock, etag=None))

    register.replace_plan(made.ticket_id, b"with checksums", etag="tag", size_bytes=7)

    assert register.ticket_plan(made.ticket_id) == b"with checksums"
    found = register.ticket(made.ticket_id)
    assert (found.etag, found.size_bytes) == ("tag", 7)


@pytest.mark.contract("archive-3.7/once")
def test_ticket_is_used_up_by_complete_downloads_alone(register: ArchiveRegister, clock: MovingClock) -> None:
    made = register.add_ticket(new_ticket(clock, max_downloads=1))

    register.note_download(made.ticket_id, bytes_sent=100, entries_done=2)
    assert not register.ticket(made.ticket_id).is_used_up
    register.note_download(made.ticket_id, bytes_sent=50, entries_done=1, is_complete=True)

    found = register.ticket(made.ticket_id)
    assert (found.bytes_sent, found.entries_done, found.downloads) == (150, 2, 1)
    assert found.is_used_up
    assert not found.is_gone(clock())
    assert register.ticket_plan(made.ticket_id) == PLAN  # for who resumes
    clock.move(3600)
    assert found.is_gone(clock())


def test_errors_of_sources_are_kept_up_to_a_limit(register: ArchiveRegister, clock: MovingClock) -> None:
    made = register.add_ticket(new_ticket(clock))
    failure = {"index": 1, "name": "é", "reason": "timeout", "bytes": 5}

    register.note_download(made.ticket_id, errors=[failure])
    assert register.ticket(made.ticket_id).errors == [failure]

    register.note_download(made.ticket_id, errors=[{"index": number} for number in range(1500)])
    kept = register.ticket(made.ticket_id).errors
    assert (len(kept), kept[-1]) == (1000, {"index": 1499})


@pytest.mark.contract("archive-3.7/sweep", "archive-defect-22")
def test_sweep_removes_what_has_expired(
    db: MeteorDatabase, register: ArchiveRegister, clock: MovingClock
) -> None:
    short = register.add_ticket(new_ticket(clock, hours=1))
    used = register.add_ticket(new_ticket(clock, hours=8, max_downloads=1))
    kept = register.add_ticket(new_ticket(clock, hours=8))
    register.note_download(used.ticket_id, is_complete=True)
    clock.move(3600)

    assert short.is_gone(clock())
    assert register.sweep() == 1
    assert register.sweep() == 0

    assert {ticket.ticket_id for ticket in register.tickets()} == {used.ticket_id, kept.ticket_id}
    with db.transactions.reading() as connection:
        assert connection.execute(select(archive_plans.c.ticket_id)).scalars().all() == [kept.ticket_id]


def test_all_tickets_are_dropped_at_once(register: ArchiveRegister, clock: MovingClock) -> None:
    made = [register.add_ticket(new_ticket(clock)) for _ in range(3)]

    register.drop_ticket(made[0].ticket_id)

    assert register.drop_all_tickets() == 2
    assert register.tickets() == []


@on_any_engine
def test_tickets_outlive_the_process(
    db: MeteorDatabase, open_database: Callable[..., MeteorDatabase], clock: MovingClock
) -> None:
    made = ArchiveRegister(db.transactions, clock).add_ticket(new_ticket(clock))

    again = ArchiveRegister(open_database().transactions, clock)

    assert again.ticket(made.ticket_id) == made
    assert again.ticket_plan(made.ticket_id) == PLAN


def test_secret_of_a_client_is_looked_up_by_its_digest(register: ArchiveRegister) -> None:
    secret = register.add_client("portal")

    assert register.client_of_secret(hashlib.sha256(secret.encode()).hexdigest()) is None
