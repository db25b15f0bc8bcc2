"""Making tickets, looking at them, taking them back."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from meteorpi_model import NSString
from tests.archive.conftest import NOON, ArchiveNode, opened
from tests.server.conftest import CAMERA, basic, bearer, id_of

pytestmark = pytest.mark.engines("sqlite")

EVERYTHING = [{"search": {"limit": 0}}]


def encoded(value: object, *, is_folded: bool = False) -> str:
    text = base64.b64encode(json.dumps(value).encode()).decode()
    return "\r\n".join(text[start : start + 20] for start in range(0, len(text), 20)) if is_folded else text


@pytest.mark.contract("archive-fpx/generate", "archive-3.4/answer", "archive-defect-7")
def test_ticket_tells_all_there_is_to_know_of_the_archive(archive_node: ArchiveNode) -> None:
    archive_node.add_files()
    archive_node.clock.ahead = timedelta(hours=5)

    made = archive_node.ticket(EVERYTHING)

    download = archive_node.get(made["href"])
    assert UUID(made["id"]).version == 4
    created, expires = (datetime.fromisoformat(made[name][:-1]) for name in ("created", "expires"))
    assert created == archive_node.clock()
    assert expires - created == timedelta(days=1)
    assert made["type"] == "zip"
    assert made["entries"] == len(opened(download)) == 4
    assert made["bytes"] == len(download.data)
    assert made["etag"] == download.get_etag()[0]
    assert (made["sized"], made["resumable"], made["available"], made["skipped"]) == (True, True, True, [])
    assert archive_node.get(made["status_href"]).status_code == 200


@pytest.mark.contract("archive-fpx/items", "archive-fpx/options", "archive-fpx/not-json", "archive-3.4/body")
@pytest.mark.parametrize("is_folded", [False, True])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", None])
def test_items_and_options_can_be_base64_and_the_body_of_any_type(
    archive_node: ArchiveNode, is_folded: bool, content_type: str | None
) -> None:
    archive_node.add_files()
    body = {"items": encoded(EVERYTHING, is_folded=is_folded), "options": encoded({"filename": "x.zip"})}

    made = archive_node.http.post(
        "/ticket/generate", data=json.dumps(body), content_type=content_type, headers=archive_node.client()
    )

    assert made.status_code == 200
    assert made.json is not None
    assert "x.zip" in archive_node.get(made.json["href"]).headers["Content-Disposition"]


@pytest.mark.contract(
    "archive-fpx/items", "archive-fpx/type", "archive-fpx/unknown-field", "archive-fpx/error-body",
    "archive-3.2/problems", "archive-3.4/empty", "archive-defect-2",
)  # fmt: skip
@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({}, "items"),
        ({"items": None}, "items"),
        ({"items": {}}, "items"),
        ({"items": 7}, "items"),
        ({"items": "no base64!"}, "items"),
        ({"items": base64.b64encode(b"{").decode()}, "items"),
        ({"items": encoded({"a": 1})}, "items"),
        ({"items": []}, "items"),
        ({"items": EVERYTHING}, "items"),  # which find nothing
        ({"items": EVERYTHING, "type": "tar"}, "type"),
        ({"items": EVERYTHING * 2, "type": "stream"}, "type"),
        ({"items": EVERYTHING, "colour": 1}, "colour"),
        ({"items": EVERYTHING, "options": 7}, "options"),
        ({"items": EVERYTHING, "options": {"colour": 1}}, "options"),
        ([], "_schema"),
    ],
)
def test_what_cannot_be_used_is_422_under_its_member(
    archive_node: ArchiveNode, body: object, member: str
) -> None:
    answer = archive_node.http.post("/ticket/generate", json=body, headers=basic("visitor"))

    assert answer.status_code == 422, answer.text
    assert answer.content_type == "application/problem+json"
    assert answer.json is not None
    assert answer.json["status"] == 422
    assert list(answer.json["errors"]) == ["json"]
    assert list(answer.json["errors"]["json"]) == [member]


@pytest.mark.contract("archive-3.4/body", "archive-defect-20")
def test_broken_json_is_400_and_too_much_of_it_413(make_archive_node: Callable[..., ArchiveNode]) -> None:
    node = make_archive_node(max_request_bytes=1000)

    broken = node.http.post("/ticket/generate", data=b"{", headers=basic("visitor"))
    long = node.http.post("/ticket/generate", data=b" " * 1001, headers=basic("visitor"))

    for answer, status in ((broken, 400), (long, 413)):
        assert answer.status_code == status
        assert answer.json is not None
        assert list(answer.json["errors"]) == ["json"]


@pytest.mark.contract("archive-3.4/checks", "archive-fpx/item", "archive-defect-20")
def test_every_bad_item_is_named_by_its_index(archive_node: ArchiveNode) -> None:
    (record,) = archive_node.add_files(1)
    items = [
        {"record": id_of(record).hex},
        {"record": "xyz"},
        7,
        {},
        {"record": id_of(record).hex, "search": {}},
        {"search": {"limit": -1}},
        {"night": {"camera": CAMERA, "date": "2015-4-1"}},
        {"dir": "../../etc"},
        {"event": id_of(record).hex, "name": "x"},
        {"url": 7},
    ]

    answer = archive_node.generate(items)

    assert answer.status_code == 422
    assert answer.json is not None
    assert list(answer.json["errors"]["json"]["items"]) == [str(index) for index in range(1, len(items))]


@pytest.mark.contract("archive-3.4/checks", "archive-3.3/clients", "archive-3.3/users")
def test_what_does_not_exist_or_is_not_allowed_is_named_too(archive_node: ArchiveNode) -> None:
    only_directories = archive_node.client("directories", "dir")
    nowhere = uuid4().hex

    for items, headers in (
        ([{"record": nowhere}], basic("visitor")),
        ([{"event": nowhere}], basic("visitor")),
        ([{"dir": "0123456789abcdef"}], basic("visitor")),
        (["http://example.org/a.fits"], basic("visitor")),
        ([{"dir": "0123456789abcdef"}], archive_node.client("records", "record")),
        (EVERYTHING, only_directories),
    ):
        answer = archive_node.generate(items, headers=headers)
        assert answer.status_code == 422, items
        assert answer.json is not None
        assert list(answer.json["errors"]["json"]["items"]) == ["0"]


@pytest.mark.contract("archive-3.4/frozen")
def test_selection_is_frozen_in_order_of_time(archive_node: ArchiveNode) -> None:
    late = archive_node.add_file(b"late", time=NOON + timedelta(hours=3), file_name="late")
    early = archive_node.add_file(b"early", time=NOON + timedelta(hours=1), file_name="early")
    made = archive_node.ticket(EVERYTHING, manifest=False, layout="{name}")
    archive_node.add_file(b"new", file_name="new")

    found = opened(archive_node.get(made["href"]))

    assert list(found) == ["early", "late"]
    swapped = [{"record": id_of(late).hex}, {"record": id_of(early).hex}]
    named = archive_node.ticket(swapped, manifest=False, layout="{name}")
    assert list(opened(archive_node.get(named["href"]))) == ["late", "early"]


@pytest.mark.contract("archive-3.4/frozen")
@pytest.mark.parametrize("options", [{"max_entries": 2}, {"max_bytes": 5999}])
def test_limits_are_answered_with_counts(
    make_archive_node: Callable[..., ArchiveNode], options: dict[str, object]
) -> None:
    node = make_archive_node(**options)
    node.add_files(3)

    answer = node.generate(EVERYTHING)

    assert answer.status_code == 422
    assert any(count in answer.text for count in ("3 records", "6003 bytes"))


@pytest.mark.contract("archive-3.4/night")
def test_night_of_a_camera_begins_at_its_noon(archive_node: ArchiveNode) -> None:
    # The camera of the fixture stands at 1 degree east: its mean noon is four minutes early.
    noon = NOON - timedelta(minutes=4)
    for name, time in (
        ("before", noon - timedelta(milliseconds=1)),
        ("first", noon),
        ("last", noon + timedelta(days=1, milliseconds=-1)),
        ("after", noon + timedelta(days=1)),
    ):
        archive_node.add_file(name.encode(), time=time, file_name=name)

    items = [{"night": {"camera": CAMERA, "date": "2015-04-01"}}]
    made = archive_node.ticket(items, manifest=False, layout="{name}")

    assert list(opened(archive_node.get(made["href"]))) == ["first", "last"]


def test_event_brings_its_files(archive_node: ArchiveNode) -> None:
    records = archive_node.add_files(3)
    event = archive_node.db.register_event(CAMERA, NOON, NSString("meteor"), records[1:])
    assert event.event_id is not None

    made = archive_node.ticket([{"event": event.event_id.hex}], layout="{event}/{index}-{type}")

    names = [f"{event.event_id.hex}/{index}-meteorpi_test_file" for index in range(2)]
    assert list(opened(archive_node.get(made["href"]))) == ["MANIFEST.json", *names]


@pytest.mark.contract("archive-3.4/empty", "archive-4.3")
def test_archive_of_nothing_is_made_where_it_is_asked_for(archive_node: ArchiveNode) -> None:
    made = archive_node.ticket([], allow_empty=True)

    answer = archive_node.get(made["href"])
    assert len(answer.data) == made["bytes"] == 22
    assert opened(answer) == {}


@pytest.mark.contract("archive-3.4/idempotency")
def test_request_repeated_with_its_key_gets_the_same_ticket_for_an_hour(archive_node: ArchiveNode) -> None:
    archive_node.add_files()
    client, other = archive_node.client("one"), archive_node.client("two")

    def made(headers: dict[str, str], key: str) -> Any:
        return archive_node.ticket(EVERYTHING, headers | {"Idempotency-Key": key})["id"]

    first = made(client, "a")
    assert made(client, "a") == first
    assert len({first, made(client, "b"), made(other, "a")}) == 3
    archive_node.clock.ahead = timedelta(hours=1, seconds=1)
    assert made(client, "a") != first


@pytest.mark.contract("archive-3.17")
def test_missing_contents_are_left_out_and_listed_or_refused(archive_node: ArchiveNode) -> None:
    records = archive_node.add_files(3)
    gone = id_of(records[1])
    archive_node.db.store.delete(gone)
    archive_node.db.mark_corrupt(id_of(records[2]))

    made = archive_node.ticket(EVERYTHING)
    named = archive_node.generate([{"record": gone.hex}])
    refused = archive_node.generate(EVERYTHING, {"missing": "fail"})
    nothing = archive_node.generate([{"record": gone.hex}], {"missing": "skip"})

    assert [(each["index"], each["file_id"]) for each in made["skipped"]] == [
        (0, gone.hex),
        (0, id_of(records[2]).hex),
    ]
    manifest = json.loads(opened(archive_node.get(made["href"]))["MANIFEST.json"])
    assert manifest["skipped"] == made["skipped"]
    assert (named.status_code, refused.status_code, nothing.status_code) == (409, 409, 422)
    assert refused.json is not None
    assert refused.json["errors"]["json"]["items"] == [gone.hex, id_of(records[2]).hex]


@pytest.mark.contract("archive-fpx/index", "archive-defect-13")
def test_index_shows_own_tickets_newest_first_ten_a_page(archive_node: ArchiveNode) -> None:
    archive_node.add_files(1)
    client, other = archive_node.client("one"), archive_node.client("two")
    made = []
    for seconds in range(12):
        archive_node.clock.ahead = timedelta(seconds=seconds)
        made.append(archive_node.ticket(EVERYTHING, client)["id"])
    archive_node.ticket(EVERYTHING, other)

    first = archive_node.get("/ticket/", headers=client).json
    second = archive_node.get("/ticket/?page=2", headers=client).json
    third = archive_node.get("/ticket?page=3", headers=client).json

    assert first is not None
    assert second is not None
    assert (first["page"], first["count"]) == (1, 12)
    assert [each["id"] for each in first["tickets"] + second["tickets"]] == made[::-1]
    assert {each["type"] for each in first["tickets"]} == {"zip"}
    assert third is not None
    assert third["tickets"] == []
    everything = archive_node.get("/ticket/", headers=basic("admin")).json
    assert everything is not None
    assert everything["count"] == 13
    assert archive_node.get("/ticket/").status_code == 401
    for page in ("0", "-1", "x", "1.5"):
        answer = archive_node.get(f"/ticket/?page={page}", headers=client)
        assert answer.status_code == 422
        assert answer.json is not None
        assert list(answer.json["errors"]) == ["query"]


@pytest.mark.contract("archive-3.7/state")
def test_state_follows_the_life_of_a_ticket(archive_node: ArchiveNode) -> None:
    archive_node.add_files()
    client = archive_node.client()
    made = archive_node.ticket(EVERYTHING, client, ttl=100)

    def state(headers: dict[str, str] | None = None) -> Any:
        return archive_node.get(made["status_href"], headers=headers)

    assert state().headers["Cache-Control"] == "no-store"
    fresh = state().json
    assert (fresh["state"], fresh["available"], fresh["active_downloads"]) == ("available", True, 0)
    assert (fresh["entries"], fresh["entries_done"], fresh["errors"]) == (4, 0, [])
    with archive_node.http.get(made["href"]):
        active = state().json
        assert (active["state"], active["active_downloads"]) == ("active", 1)
    assert len(archive_node.get(made["href"]).data) == made["bytes"]
    done = state().json
    assert (done["state"], done["entries_done"], done["active_downloads"]) == ("done", 4, 0)
    assert done["bytes_sent"] >= made["bytes"]
    archive_node.clock.ahead = timedelta(seconds=101)
    assert state().status_code == 404
    assert state(client).json["state"] == "expired"


@pytest.mark.contract("archive-3.3/holders", "archive-3.2/routes")
def test_only_owner_and_administrator_take_a_ticket_back(archive_node: ArchiveNode) -> None:
    archive_node.add_files()
    client, other = archive_node.client("one"), archive_node.client("two")
    made = [archive_node.ticket(EVERYTHING, client) for _ in range(2)]
    unknown = f"/ticket/{uuid4()}"

    def withdraw(path: str, headers: dict[str, str]) -> int:
        return archive_node.http.delete(path, headers=headers).status_code

    assert withdraw(made[0]["status_href"], {}) == 401
    assert withdraw(made[0]["status_href"], other) == 403
    assert withdraw(unknown, client) == 404
    assert archive_node.get(made[0]["href"]).status_code == 200
    assert withdraw(made[0]["status_href"], client) == 204
    assert withdraw(made[1]["status_href"], basic("admin")) == 204
    gone = [archive_node.get(path) for path in (made[0]["href"], made[0]["status_href"], unknown)]
    assert {answer.status_code for answer in gone} == {404}
    assert len({answer.text for answer in gone}) == 1
    owned = archive_node.get(made[0]["status_href"], headers=client).json
    assert owned is not None
    assert owned["state"] == "withdrawn"


@pytest.mark.contract("archive-defect-22")
def test_expired_tickets_are_removed_by_whoever_comes_next(archive_node: ArchiveNode) -> None:
    archive_node.add_files()
    made = archive_node.ticket(EVERYTHING, ttl=100)
    archive_node.clock.ahead = timedelta(hours=1)

    archive_node.get("/ticket/x")

    assert archive_node.register.count_tickets() == 0
    assert archive_node.get(made["status_href"], headers=basic("visitor")).status_code == 404


@pytest.mark.contract("archive-fpx/secret-header", "archive-3.3/secret")
def test_first_header_with_a_secret_counts(archive_node: ArchiveNode) -> None:
    archive_node.add_files()
    secret = archive_node.client()["authorize"]

    def status(**headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return archive_node.generate(EVERYTHING, headers=sent).status_code

    assert len(secret) == 96
    for name in ("X_FPX_Authorize", "Authorization", "Authorize"):
        assert status(**{name: secret}) == 200
        assert status(**{name: f"Bearer {secret}"}) == 200
        assert status(**{name: secret[:-1] + "!"}) == 401
    assert status(X_FPX_Authorize="wrong", Authorization=secret) == 401
    assert status(Authorization="wrong", Authorize=secret) == 401
    assert status(X_FPX_Authorize="", Authorize=secret) == 200
    assert status(**basic("admin", "wrong"), Authorize=secret) == 200, "a password is no secret"
    assert status() == 401
    made = archive_node.ticket(EVERYTHING, {"Authorize": secret})
    assert archive_node.get(made["href"], headers={"Authorization": "wrong"}).status_code == 200


@pytest.mark.contract("archive-3.3/users", "archive-3.3/clients")
def test_accounts_need_one_of_the_roles_and_clients_to_be_enabled(
    make_archive_node: Callable[..., ArchiveNode],
) -> None:
    node = make_archive_node(user_roles=("import",))
    node.add_files()
    client = node.client()
    _, token = node.db.create_api_token("station", "a program")

    def status(headers: dict[str, str]) -> int:
        return node.generate(EVERYTHING, headers=headers).status_code

    assert [status(basic(name)) for name in ("station", "admin", "visitor", "nobody")] == [200, 200, 403, 403]
    assert status(bearer(token)) == 200
    assert status(basic("station") | {"Origin": "https://evil.example"}) == 403
    assert status(client) == 200
    node.register.set_client_enabled("catalogue", False)
    assert status(client) == 401


@pytest.mark.contract("archive-3.3/holders", "archive-3.6/options")
def test_bound_archive_is_for_its_maker_only(archive_node: ArchiveNode) -> None:
    archive_node.add_files()
    client, other = archive_node.client("one"), archive_node.client("two")
    made = archive_node.ticket(EVERYTHING, client, bind="client")

    def status(headers: dict[str, str]) -> int:
        return archive_node.get(made["href"], headers=headers).status_code

    assert [status(headers) for headers in ({}, other, basic("admin"), client)] == [401, 403, 403, 200]


@pytest.mark.contract("archive-3.6/options")
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("filename", [7, "a\r\nb", "a\0b", "x" * 201]),
        ("compression", ["lzma", True]),
        ("on_error", ["shrug"]),
        ("missing", ["wait", 1]),
        ("manifest", ["yes", 1]),
        ("layout", ["", "{other}", "{name!r}", "{name:>9}", "{name.__class__}", "{0}", "{", "fixed", 7]),
        ("duplicates", ["keep"]),
        ("ttl", [0, -1, 1.5, True, 30 * 86400 + 1, "1"]),
        ("max_downloads", [-1, "1"]),
        ("once", ["true"]),
        ("bind", ["user"]),
        ("comment", ["x" * 65536, 7]),
        ("nothing", [1]),
    ],
)
def test_options_that_cannot_be_used_are_refused(
    archive_node: ArchiveNode, name: str, values: list[object]
) -> None:
    for value in values:
        answer = archive_node.generate(EVERYTHING, {name: value})
        assert answer.status_code == 422, value
        assert answer.json is not None
        assert list(answer.json["errors"]["json"]["options"]) == [name]


@pytest.mark.contract("archive-3.6/options", "archive-3.13/names", "archive-defect-4", "archive-defect-10")
def test_layout_names_entries_and_duplicates_are_renamed_or_refused(archive_node: ArchiveNode) -> None:
    archive_node.add_file(b"a", file_name="../../passwd.txt")
    archive_node.add_file(b"b", file_name="../../passwd.txt", time=datetime(2015, 4, 1, 2))
    archive_node.add_file(b"c", mime_type="image/fits", time=datetime(2015, 4, 1, 3))

    default = archive_node.ticket(EVERYTHING, manifest=False)
    flat = archive_node.ticket(EVERYTHING, manifest=False, layout="/../{date}T{time}/./{name}")
    refused = archive_node.generate(EVERYTHING, {"duplicates": "fail"})

    names = list(opened(archive_node.get(default["href"])))
    assert names[:2] == [f"{CAMERA}/2015-04-01/.._.._passwd{end}.txt" for end in ("", " (2)")]
    assert names[2].endswith(".fits")
    assert next(iter(opened(archive_node.get(flat["href"])))) == "2015-04-01T01-00-00/.._.._passwd.txt"
    assert refused.status_code == 422


@pytest.mark.contract("archive-3.6/options")
def test_comment_is_in_the_archive(archive_node: ArchiveNode) -> None:
    archive_node.add_files(1)

    made = archive_node.ticket(EVERYTHING, comment="of the Perseids ☄")

    assert archive_node.get(made["href"]).data.endswith("of the Perseids ☄".encode())


@pytest.mark.contract("archive-3.17")
def test_manifest_comes_first_and_describes_every_entry(archive_node: ArchiveNode) -> None:
    records = archive_node.add_files(2)
    items = [{"record": id_of(record).hex} for record in records]

    bodies = {archive_node.get(archive_node.ticket(items)["href"]).data for _ in range(2)}
    found = opened(archive_node.get(archive_node.ticket(items)["href"]))

    assert len(bodies) == 1
    assert next(iter(found)) == "MANIFEST.json"
    manifest = json.loads(found["MANIFEST.json"])
    assert (manifest["version"], manifest["node"]) == (1, "stationstati")
    assert manifest["selection"] == items
    for entry, record in zip(manifest["entries"], records, strict=True):
        facts = archive_node.db.content_facts(id_of(record))
        assert len(found[entry["name"]]) == entry["size"] == facts.size
        assert (entry["crc32"], entry["md5"]) == (facts.crc32, record.md5)
        assert (entry["file_id"], entry["camera_id"]) == (id_of(record).hex, CAMERA)
        assert (entry["mime_type"], entry["semantic_type"]) == ("text/plain", "meteorpi:test_file")
        assert entry["file_time"] == record.as_dict()["file_time"]
