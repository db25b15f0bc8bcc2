"""What clients of FPX send is answered as FPX 0.8 answered it, or better where the contract says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from meteorpi_db.testing.processes import wait_until
from tests.archive.conftest import ArchiveNode
from tests.archive.fpx_exchanges import ANSWERS, CLIENT, EXCHANGES, QUEUED, SECONDS, Stage, sources
from tests.archive.test_sockets import serving
from tests.archive.test_streams import service_of

pytestmark = [
    pytest.mark.engines("sqlite"),
    pytest.mark.contract("archive-6.4"),
]

SECRET = "s" * 43
"""As long as FPX makes secrets."""

BETTER: dict[str, dict[str, Any]] = {
    # Defects 2 and 20: an empty zip, and a 500 when it is downloaded.
    "nothing chosen": {"status": 422, "json": {"errors": {"json": {"items": ["str"]}}}},
    "item no URL": {"status": 422, "json": {"errors": {"json": {"items": {"0": ["str"]}}}}},
    # Section 3.4: read as JSON whatever its type, if it can be; what cannot is said to be broken.
    "undeclared JSON": {"status": 200, "json": {"created": "str", "type": "str", "id": "str"}},
    "broken JSON": {"status": 400, "json": {"errors": {}}},
    # Defect 15: a link can be followed again.
    "download again": {
        "status": 200,
        "type": "application/zip",
        "filename": "collection.zip",
        "entries": [["a.txt", "first"], ["b.bin", "second"]],
    },
    # Defect 4: equal names would have overwritten each other.
    "download named": {
        "status": 200,
        "type": "application/zip",
        "filename": "set.zip",
        "entries": [["a.txt", "first"], ["a (2).txt", "first"], ["a (3).txt", "first"]],
    },
    # Defect 13: it was a 500.
    "token too late": {"status": 403, "json": {"errors": {"access": ["str"]}}},
}
"""Answers that are not those of FPX, on purpose."""


@pytest.fixture
def answers(
    make_archive_node: Callable[..., ArchiveNode], serve: Callable[[ArchiveNode], str]
) -> Iterator[dict[str, dict[str, Any]]]:
    """What a node answers, by the name of the exchange."""
    with sources() as source:
        node = make_archive_node(allowed_sources=[source.url()])
        node.register.add_client(CLIENT, secret=SECRET, signing=True)
        stage = Stage(serve(node), {"source": source.url(""), "secret": SECRET})
        yield {exchange.name: stage.play(exchange) for exchange in EXCHANGES}
        service_of(node).remote.outbound.close()
    assert {asked.headers.get("x-token") for asked in source.asked("/a.txt")} == {"t", None}


@pytest.mark.contract(
    "archive-fpx/error-body", "archive-fpx/generate", "archive-fpx/index", "archive-fpx/secret-header"
)
def test_clients_of_fpx_are_answered_as_they_were(answers: Mapping[str, dict[str, Any]]) -> None:
    recorded = json.loads(ANSWERS.read_text())

    assert recorded.keys() - {exchange.name for exchange in QUEUED} == answers.keys()
    wrong = {
        name: (wanted, answers[name])
        for name, found in recorded.items()
        if name in answers and not is_covered(wanted := BETTER.get(name, found), answers[name])
    }
    assert wrong == {}


@pytest.mark.contract("archive-fpx/wait", "archive-fpx/queue")
def test_tickets_that_wait_are_answered_as_they_were(make_archive_node: Callable[..., ArchiveNode]) -> None:
    recorded = json.loads(ANSWERS.read_text())
    with sources() as source:
        node = make_archive_node(allowed_sources=[source.url()], no_queue=False)
        node.register.add_client(CLIENT, secret=SECRET)
        with serving(node) as served:
            address = served.url.replace("ws", "http", 1)
            stage = Stage(address, {"source": source.url(""), "secret": SECRET})
            answers = {exchange.name: stage.play(exchange) for exchange in QUEUED}
            status = f"/ticket/{stage.known['queued']}"
            # The reader has everything a little before the node has taken note of it.
            wait_until(lambda: node.get(status).json["state"] == "done", SECONDS, "end")  # type: ignore[index]
        service_of(node).remote.outbound.close()

    wrong = {name: found for name, found in answers.items() if not is_covered(recorded[name], found)}
    assert wrong == {}


def test_exchanges_cover_the_requests_of_fpx() -> None:
    rows = {exchange.row for exchange in (*EXCHANGES, *QUEUED)}

    assert rows == {
        "index", "generate", "secret-header", "items", "item", "type", "options", "unknown-field", "not-json",
        "download", "life", "content", "stream", "signed", "queue", "wait",
    }  # fmt: skip


def is_covered(wanted: Any, found: Any) -> bool:
    """Whether all that a client of FPX found in an answer is there; more may be."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        if wanted.keys() == {"description", "status", "message"}:
            return True  # the framework's own, of which FPX said nothing
        return all(name in found and is_covered(wanted[name], found[name]) for name in wanted)
    if isinstance(wanted, list) and isinstance(found, list) and wanted and isinstance(wanted[0], dict):
        return all(is_covered(wanted[0], each) for each in found) and bool(found)
    return wanted == found or (is_text(wanted) and is_text(found))


def is_text(leaf: Any) -> bool:
    """FPX put one sentence under some members, a list of them under others."""
    return leaf in ("str", ["str"], {"url": "str"})
