"""What log lines look like."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from flask.typing import ResponseReturnValue

from meteorpi_model.errors import ConfigurationError
from meteorpi_server import MeteorApp
from meteorpi_server.logs import QUIET, configure_logging
from tests.server.conftest import Node


@pytest.fixture(autouse=True)
def _kept_handlers() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_text_lines_are_one_line_each() -> None:
    stream = io.StringIO()
    configure_logging("info", "text", stream)

    logging.getLogger("meteorpi.test").info("file pushed name=%s", "a\nb\r")
    logging.getLogger("meteorpi.test").debug("not written")

    (line,) = stream.getvalue().splitlines()
    assert line.endswith("Z INFO meteorpi.test file pushed name=a\\nb\\r")


@pytest.mark.contract("K-501")
def test_signed_links_to_blocks_are_cut_short() -> None:
    stream = io.StringIO()
    configure_logging("info", "text", stream)
    link = f"1792000000.{'a' * 32}.{'-_' * 21}Z"

    logging.getLogger("werkzeug").info('"GET /api/v0/files/p/a?link=%s HTTP/1.1" 200 -', link)

    (line,) = stream.getvalue().splitlines()
    assert line.endswith('"GET /api/v0/files/p/a?link=1792000000.… HTTP/1.1" 200 -')


def test_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    path, rotated = tmp_path / "archive.log", tmp_path / "archive.log.1"
    configure_logging(path=str(path))
    (handler,) = logging.getLogger().handlers
    with closing(handler):
        logging.getLogger("meteorpi.test").info("first")
        path.rename(rotated)
        logging.getLogger("meteorpi.test").info("second")

    assert [rotated.read_text().split()[-1], path.read_text().split()[-1]] == ["first", "second"]


@pytest.mark.engines("sqlite")
@pytest.mark.contract("issue-3.4/logs")
def test_json_lines_carry_the_request_and_the_traceback(node: Node) -> None:
    @node.meteor_app.app.get("/failing")
    def failing() -> ResponseReturnValue:
        raise ZeroDivisionError("äh")

    @node.meteor_app.app.get("/logging")
    def logs() -> ResponseReturnValue:
        logging.getLogger("meteorpi.test").warning("hello %s", "there")
        return MeteorApp.success()

    stream = io.StringIO()
    configure_logging("WARNING", "json", stream)

    node.get("/logging", headers={"X-Request-ID": "abc"})
    node.get("/failing")

    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["message"], first["request_id"], first["level"]) == ("hello there", "abc", "WARNING")
    assert "ZeroDivisionError: äh" in second["traceback"]


@pytest.mark.contract("issue-3.4/logs")
@pytest.mark.parametrize(
    ("level", "names"), [("INFO", []), ("DEBUG", ["waitress.queue", "apscheduler.scheduler"])]
)
def test_libraries_are_silent_unless_everything_is_wanted(level: str, names: list[str]) -> None:
    stream = io.StringIO()
    configure_logging(level, "json", stream)

    logging.getLogger("waitress.queue").warning("Task queue depth is 1")
    logging.getLogger("apscheduler.scheduler").info("Scheduler started")

    assert [json.loads(line)["logger"] for line in stream.getvalue().splitlines()] == names


@pytest.mark.engines("sqlite")
@pytest.mark.contract("issue-3.4/logs")
def test_each_request_has_a_line_with_its_id_where_everything_is_wanted(node: Node) -> None:
    stream = io.StringIO()
    configure_logging("DEBUG", "json", stream)

    node.get("/cameras?x=secret", headers={"X-Request-ID": "abc-1"})
    node.get("/nowhere", headers={"X-Request-ID": "forged id"})

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    first, second = (line for line in lines if line["logger"] == "meteorpi.server.access")
    assert re.fullmatch(r"answered method=GET path=/cameras status=200 seconds=\d\.\d{3}", first["message"])
    assert first["request_id"] == "abc-1"
    assert "status=404" in second["message"]
    assert re.fullmatch("[0-9a-f]{32}", second["request_id"])


@pytest.mark.parametrize(("level", "log_format"), [("LOUD", "text"), ("INFO", "xml")])
def test_unknown_levels_and_formats_stop_the_start(level: str, log_format: str) -> None:
    with pytest.raises(ConfigurationError, match="METEORPI_LOG"):
        configure_logging(level, log_format)
