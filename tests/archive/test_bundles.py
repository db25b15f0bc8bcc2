"""Links for browsers: they lead to the download of a ticket, the same one while nothing has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import quote

import pytest

from meteorpi_model import NSString
from tests.archive.conftest import NOON, ArchiveNode, opened
from tests.server.conftest import CAMERA, basic

pytestmark = pytest.mark.engines("sqlite")

SEARCH = "/bundle/files/" + quote(quote(json.dumps({"limit": 0})))


@pytest.mark.contract("archive-3.2/bundle")
def test_search_leads_to_a_ticket_that_is_found_again(archive_node: ArchiveNode) -> None:
    archive_node.add_files()

    first, again = archive_node.get(SEARCH), archive_node.get(SEARCH)
    as_visitor = archive_node.get(SEARCH, headers=basic("visitor"))
    download = archive_node.get(first.headers["Location"])
    archive_node.add_file(b"new", time=NOON)
    later = archive_node.get(SEARCH)

    assert (first.status_code, first.headers["Cache-Control"]) == (303, "no-store")
    assert again.headers["Location"] == first.headers["Location"]
    assert len({answer.headers["Location"] for answer in (first, as_visitor, later)}) == 3
    assert len(opened(download)) == 4
    assert len(opened(archive_node.get(later.headers["Location"]))) == 5
    assert archive_node.get(first.headers["Location"]).data == download.data


@pytest.mark.contract("archive-3.2/bundle")
def test_event_and_night_have_links(archive_node: ArchiveNode) -> None:
    records = archive_node.add_files(3)
    event = archive_node.db.register_event(CAMERA, NOON, NSString("meteor"), records[1:])
    assert event.event_id is not None

    of_event = archive_node.get(f"/bundle/event/{event.event_id.hex}", follow_redirects=True)
    of_night = archive_node.get(f"/bundle/night/{CAMERA}/2015-04-01", follow_redirects=True)

    assert len(opened(of_event)) == 3
    assert len(opened(of_night)) == 4
    assert f'filename="{CAMERA}-2015-04-01.zip"' in of_night.headers["Content-Disposition"]


@pytest.mark.contract("archive-3.2/bundle", "archive-3.2/problems")
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/bundle/files/%257B", 400),
        ("/bundle/files/%7B%22limit%22:-1%7D", 400),
        (SEARCH, 422),
        ("/bundle/event/xyz", 400),
        (f"/bundle/event/{'0' * 32}", 404),
        (f"/bundle/night/{CAMERA}/2015-04-01", 422),
        (f"/bundle/night/{CAMERA}/yesterday", 400),
    ],
)
def test_links_to_nothing_are_told(archive_node: ArchiveNode, path: str, status: int) -> None:
    answer = archive_node.get(path)

    assert answer.status_code == status
    assert answer.json is not None
    assert isinstance(answer.json["errors"], dict)


def test_anonymous_callers_get_as_much_as_from_a_search(
    make_archive_node: Callable[..., ArchiveNode],
) -> None:
    node = make_archive_node()
    node.add_files(3)
    service = node.meteor_app.app.extensions["meteorpi_archive"]["archive"]
    object.__setattr__(service.settings, "anonymous_limit", 2)

    assert node.get(SEARCH).status_code == 422
    assert node.get(SEARCH, headers=basic("visitor")).status_code == 303


@pytest.mark.contract("archive-directory/front")
def test_links_are_right_below_any_path(make_archive_node: Callable[..., ArchiveNode]) -> None:
    node = make_archive_node(url_path="/some/where")
    node.add_files()

    answer = node.get(f"/some/where{SEARCH}", environ_overrides={"SCRIPT_NAME": "/site"})
    made = node.http.post(
        "/some/where/ticket/generate",
        json={"items": [{"search": {}}]},
        headers=basic("visitor"),
        environ_overrides={"SCRIPT_NAME": "/site"},
    ).json

    assert made is not None
    assert made["href"].startswith("/site/some/where/ticket/")
    assert answer.headers["Location"].startswith("/site/some/where/ticket/")
    assert node.get(made["href"].removeprefix("/site")).status_code == 200
    assert timedelta(0) == node.clock.ahead
