"""Where log lines go and what they look like; called by the command line and by WSGI scripts, nobody else."""

from __future__ import annotations

import json
import logging
import logging.handlers
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import Final, TextIO

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.context import current_request_id

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
FORMATS: Final = ("text", "json")
QUIET: Final = {
    # Warns of every request that waits for a thread, which with callers that keep connections open is normal.
    "waitress.queue": logging.ERROR,
    # Tells of every job that is added, begun and done; what comes of them our own loggers say.
    "apscheduler": logging.WARNING,
}
"""Loggers of libraries and the least level that is worth a line, unless everything is wanted (DEBUG)."""

SECRETIVE: Final = ("urllib3.connection", "urllib3.connectionpool", "httpcore2")
"""Loggers of libraries whose lines hold whole URLs, which may be signed, or fields that do: errors only."""

_LINK = re.compile(r"(/(?:ticket|archive|stream/url)/[A-Za-z0-9_-]{8})[A-Za-z0-9_.-]+")


def configure_logging(
    level: str = "INFO", log_format: str = "text", stream: TextIO | None = None, path: str = ""
) -> None:
    """Send every log line of the process to `stream`, or to a file.

    Args:
        level: least level that is written: DEBUG, INFO, WARNING or ERROR.
        log_format: ``text`` for people, ``json`` for one JSON object a line.
        stream: None takes the standard error stream.
        path: of the file, made anew after somebody has moved it away; empty for none.

    Raises:
        ConfigurationError: there is no such level or format, or the file cannot be written.
    """
    if level.upper() not in LEVELS:
        raise ConfigurationError(f"METEORPI_LOG_LEVEL must be one of {', '.join(LEVELS)}, not {level!r}")
    if log_format not in FORMATS:
        raise ConfigurationError(
            f"METEORPI_LOG_FORMAT must be one of {', '.join(FORMATS)}, not {log_format!r}"
        )
    handler = _file_handler(path) if path else logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(logging.NOTSET if level.upper() == "DEBUG" else least)
    for name in SECRETIVE:
        logging.getLogger(name).setLevel(logging.ERROR)


def _file_handler(path: str) -> logging.Handler:
    try:
        return logging.handlers.WatchedFileHandler(path, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write the log to {path}: {error.strerror}") from error


class TextLines(logging.Formatter):
    """``2015-04-01T00:21:03.456Z INFO meteorpi.db.export message``, with the request id behind it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and below it the traceback where there is one."""
        request_id = current_request_id()
        message = without_links(_one_line(record.getMessage()))
        line = f"{_time(record)} {record.levelname} {record.name} {message}"
        line = f"{line} request_id={request_id}" if request_id else line
        trace = _traceback(record)
        return f"{line}\n{trace}" if trace else line


class JsonLines(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message``, ``request_id``, ``traceback``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        members = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": without_links(record.getMessage()),
            "request_id": current_request_id(),
            "traceback": _traceback(record),
        }
        return json.dumps({name: value for name, value in members.items() if value})


def without_links(text: str) -> str:
    """`text` with the links to archives cut short: whoever reads a log must not be able to download by it."""
    return _LINK.sub(r"\1…", text)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _one_line(message: str) -> str:
    """`message` with its line breaks visible: nobody outside may write lines of their own into the log."""
    return message.replace("\r", "\\r").replace("\n", "\\n")


def _traceback(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    return without_links("".join(traceback.format_exception(*record.exc_info)).rstrip())
