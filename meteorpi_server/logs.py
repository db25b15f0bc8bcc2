"""Where log lines go and what they look like; called by the command line and by WSGI scripts, nobody else."""

from __future__ import annotations

import json
import logging
import logging.config
import logging.handlers
import re
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.context import current_request_id

logger = logging.getLogger("meteorpi.server.logs")

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

_LINK = re.compile(r"(/(?:ticket|archive|stream/url)/[A-Za-z0-9_-]{8}|[?&]link=[0-9]{1,12}\.)[A-Za-z0-9_.-]+")


def configure_logging(
    level: str = "INFO",
    log_format: str = "text",
    stream: TextIO | None = None,
    path: str = "",
    config: str = "",
) -> None:
    """Send every log line of the process to `stream`, or to a file, or where a configuration says.

    Args:
        level: least level that is written: DEBUG, INFO, WARNING or ERROR.
        log_format: ``text`` for people, ``json`` for one JSON object a line.
        stream: None takes the standard error stream.
        path: of the file, made anew after somebody has moved it away; empty for none.
        config: of a configuration file, which decides instead of all others; empty for none. When there is no
            such file they decide, and the first line is a warning.

    Raises:
        ConfigurationError: there is no such level or format, the file cannot be written, or the configuration
            is none.
    """
    if level.upper() not in LEVELS:
        raise ConfigurationError(f"METEORPI_LOG_LEVEL must be one of {', '.join(LEVELS)}, not {level!r}")
    if log_format not in FORMATS:
        raise ConfigurationError(
            f"METEORPI_LOG_FORMAT must be one of {', '.join(FORMATS)}, not {log_format!r}"
        )
    if config and configure_from_file(config):
        return
    handler = _file_handler(path) if path else logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(logging.NOTSET if level.upper() == "DEBUG" else least)
    for name in SECRETIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    if config:
        logger.warning(
            "there is no logging configuration path=%s; the log goes where it goes without", config
        )


def configure_from_file(path: str) -> bool:
    """Send log lines where a JSON file says, as :func:`logging.config.dictConfig` takes it.

    Returns:
        False when there is no such file; then nothing is changed.

    Raises:
        ConfigurationError: it cannot be read, or is no configuration.
    """
    document = read_configuration(path)
    if document is not None:
        apply_configuration(document, path)
    return document is not None


def read_configuration(path: str) -> Mapping[str, Any] | None:
    """What a logging configuration says, None when there is no such file.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        document = json.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the logging configuration {path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"the logging configuration {path} is no JSON object")
    return document


def apply_configuration(document: Mapping[str, Any], path: str) -> None:
    """Do what a logging configuration says, which was read at `path`.

    Loggers that it does not name go on, and libraries that say too much are quiet unless it names them.

    Raises:
        ConfigurationError: it is none; what was configured before is gone.
    """
    try:
        logging.config.dictConfig({"disable_existing_loggers": False, **document})
    except (ValueError, TypeError, AttributeError, ImportError, OSError) as error:
        reason = error.__cause__ or error
        raise ConfigurationError(f"the logging configuration {path} cannot be used: {reason}") from error
    named = document.get("loggers", {})
    for name, least in (QUIET | dict.fromkeys(SECRETIVE, logging.ERROR)).items():
        if name not in named:
            logging.getLogger(name).setLevel(least)


def _file_handler(path: str) -> logging.Handler:
    try:
        return logging.handlers.WatchedFileHandler(path, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write the log to {path}: {error.strerror}") from error


class TextLines(logging.Formatter):
    """``2015-04-01T00:21:03.456Z INFO meteorpi.db.export message``, with the request id behind it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and below it the traceback where there is one."""
        request_id = _request_id(record)
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
            "request_id": _request_id(record),
            "traceback": _traceback(record),
        }
        return json.dumps({name: value for name, value in members.items() if value})


def without_links(text: str) -> str:
    """`text` with links to archives and blocks cut short: whoever reads a log must not download by it."""
    return _LINK.sub(r"\1…", text)


def _request_id(record: logging.LogRecord) -> str:
    """That of the request that the line is about, also when it has been answered."""
    return str(getattr(record, "request_id", "") or current_request_id())


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _one_line(message: str) -> str:
    """`message` with its line breaks visible: nobody outside may write lines of their own into the log."""
    return message.replace("\r", "\\r").replace("\n", "\\n")


def _traceback(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return record.stack_info or ""
    return without_links("".join(traceback.format_exception(*record.exc_info)).rstrip())
