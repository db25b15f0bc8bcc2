"""The options of archives: all of the contract, with the defaults that it gives them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from meteorpi_model import NSString
from meteorpi_server.archive_api.options import read_options
from meteorpi_server.archiving import OnError
from meteorpi_server.settings import Settings
from tests.archive.conftest import NOON, ArchiveNode, opened
from tests.archive.faulty_source import FaultySource, serving
from tests.server.conftest import CAMERA, id_of

pytestmark = pytest.mark.engines("sqlite")

NAME = "3bea29ccabbbf64bdebcc055319c5745"
DEFAULTS = {
    "filename": "collection.zip",
    "compression": "store",
    "on_error": "abort",
    "missing": None,  # as the item has it
    "manifest": None,  # if there are records
    "layout": None,  # of each kind
    "duplicates": "rename",
    "ttl": 86_400,
    "max_downloads": 0,
    "once": False,
    "bind": "link",
    "publish": False,
    "password": None,
    "password_hint": "",
    "comment": "",
}
OTHERS = {
    "filename": "n.zip",
    "compression": "auto",
    "on_error": "skip",
    "missing": "peer",
    "manifest": True,
    "layout": "{id}",
    "duplicates": "fail",
    "ttl": 1,
    "max_downloads": 3,
    "once": True,
    "bind": "client",
    "publish": True,
    "password": "sesame",
    "password_hint": "of the cave",
    "comment": "é",
}


@pytest.mark.contract("archive-3.6/options")
def test_every_option_is_known_and_has_its_default() -> None:
    default = read_options({}, Settings())
    other = read_options(OTHERS, Settings())

    assert OTHERS.keys() == DEFAULTS.keys()
    assert {name: getattr(default, name) for name in DEFAULTS} == DEFAULTS
    assert {name: getattr(other, name) for name in OTHERS} == OTHERS
    assert default.on_error is OnError.ABORT
    assert "password" not in other.as_dict()
    assert "sesame" not in repr(other) + json.dumps(other.as_dict())


@pytest.mark.contract("archive-3.6/options", "archive-3.13/names")
def test_layout_can_hold_all_that_is_known_of_an_entry(
    make_archive_node: Callable[..., ArchiveNode], tmp_path: Path
) -> None:
    (tmp_path / "storage" / NAME).mkdir(parents=True)
    (tmp_path / "storage" / NAME / "d.txt").write_bytes(b"d")
    layout = "{index}|{camera}|{date}|{time}|{type}|{event}|{id}|{path}|{name}"
    with FaultySource({"/u.txt": serving(b"u")}) as server:
        node = make_archive_node(storage_path=str(tmp_path / "storage"), allowed_sources=[server.url()])
        record = node.add_file(b"r", mime_type="image/png", time=NOON)
        event = node.db.register_event(CAMERA, NOON, NSString("meteor"), [record])
        assert event.event_id is not None
        items = [
            {"event": event.event_id.hex},
            {"url": server.url("/u.txt"), "path": "p", "name": "n.txt"},
            {"dir": NAME},
        ]
        made = node.ticket(items, node.client(), layout=layout)
        names = list(opened(node.get(made["href"])))

    file_id = id_of(record).hex
    assert names == [
        "MANIFEST.json",  # for there is a record
        f"0_{CAMERA}_2015-04-01_12-00-00_meteorpi_test_file_{event.event_id.hex}_{file_id}__{file_id}.png",
        "1_______p_n.txt",
        "d.txt",  # a directory keeps its shape
    ]


@pytest.mark.contract("archive-3.6/options", "archive-3.17")
def test_manifest_is_there_with_records_or_when_it_is_asked_for(
    make_archive_node: Callable[..., ArchiveNode], tmp_path: Path
) -> None:
    (tmp_path / "storage" / NAME).mkdir(parents=True)
    (tmp_path / "storage" / NAME / "d.txt").write_bytes(b"d")
    node = make_archive_node(storage_path=str(tmp_path / "storage"))
    node.add_files(1)
    client = node.client()

    def first(item: object, **options: object) -> str:
        return next(iter(opened(node.get(node.ticket([item], client, **options)["href"]))))

    directory = {"dir": NAME}
    search: dict[str, object] = {"search": {}}
    assert first(search) == "MANIFEST.json"
    assert first(search, manifest=False) != "MANIFEST.json"
    assert first(directory) == "d.txt"
    assert first(directory, manifest=True) == "MANIFEST.json"
