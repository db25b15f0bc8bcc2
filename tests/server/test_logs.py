"""What log lines look like."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from flask.typing import ResponseReturnValue

from meteorpi_model.errors import ConfigurationError
from meteorpi_server import MeteorApp
from meteorpi_server.logs import configure_logging
from tests.server.conftest import Node


@pytest.fixture(autouse=True)
def _kept_handlers() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_text_lines_are_one_line_each() -> None:
    stream = io.StringIO()
    configure_logging("info", "text", stream)

    logging.getLogger("meteorpi.test").info("file pushed name=%s", "a\nb\r")
    logging.getLogger("meteorpi.test").debug("not written")

    (line,) = stream.getvalue().splitlines()
    assert line.endswith("Z INFO meteorpi.test file pushed name=a\\nb\\r")


@pytest.mark.engines("sqlite")
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


@pytest.mark.parametrize(("level", "log_format"), [("LOUD", "text"), ("INFO", "xml")])
def test_unknown_levels_and_formats_stop_the_start(level: str, log_format: str) -> None:
    with pytest.raises(ConfigurationError, match="METEORPI_LOG"):
        configure_logging(level, log_format)
