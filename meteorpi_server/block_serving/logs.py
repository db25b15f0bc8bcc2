"""The log of a block server as the options of its predecessor want it.

Source: A.13 of the storage contract.
"""

from __future__ import annotations

import logging
import logging.handlers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.block_serving.loading import BlockServerSettings
from meteorpi_server.block_serving.reading import Given
from meteorpi_server.block_serving.translating import is_on
from meteorpi_server.logs import JsonLines, TextLines, configure_logging

_MODES: Final = ("size", "time")


@dataclass(frozen=True, kw_only=True)
class LogFile:
    """A file of the log, of which old ones are kept.

    Attributes:
        path: of the file.
        is_by_size: begin a new one by size, or else by time.
        most_bytes: size at which a new one is begun.
        kept: number of old ones.
        unit, interval: how often a new one is begun, in the words of `logging.handlers`.
    """

    path: str
    is_by_size: bool
    most_bytes: int
    kept: int
    unit: str
    interval: int

    def opened(self) -> logging.Handler:
        """The file as a handler.

        Raises:
            ConfigurationError: it cannot be written, or the unit is none.
        """
        try:
            if self.is_by_size:
                return logging.handlers.RotatingFileHandler(
                    self.path, maxBytes=self.most_bytes, backupCount=self.kept, encoding="utf-8"
                )
            return logging.handlers.TimedRotatingFileHandler(
                self.path, when=self.unit, interval=self.interval, backupCount=self.kept, encoding="utf-8"
            )
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"cannot write the log to {self.path}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class LogChoice:
    """Where the log goes.

    Attributes:
        file: beside or in place of standard error.
        is_shown: on standard error.
        is_left_alone: nothing is set up at all.
    """

    file: LogFile | None
    is_shown: bool
    is_left_alone: bool


def read_log_choice(options: Mapping[str, Given]) -> LogChoice:
    """What options say of the log.

    Raises:
        ConfigurationError: a value means nothing.
    """
    file = None
    if "log-file-prefix" in options:
        mode = options["log-rotate-mode"].text if "log-rotate-mode" in options else _MODES[0]
        if mode not in _MODES:
            raise ConfigurationError(f"{options['log-rotate-mode'].place} must be one of {', '.join(_MODES)}")
        file = LogFile(
            path=options["log-file-prefix"].text,
            is_by_size=mode == _MODES[0],
            most_bytes=_number(options, "log-file-max-size", 100_000_000),
            kept=_number(options, "log-file-num-backups", 10),
            unit=options["log-rotate-when"].text if "log-rotate-when" in options else "midnight",
            interval=_number(options, "log-rotate-interval", 1),
        )
    return LogChoice(
        file=file,
        is_shown=file is None or is_on(options, "log-to-stderr"),
        is_left_alone="logging" in options and options["logging"].text.lower() == "none",
    )


def configure_block_logging(found: BlockServerSettings) -> None:
    """Log as the settings say, and as the options of the predecessor do.

    Raises:
        ConfigurationError: something that they say of the log cannot be.
    """
    choice, settings = read_log_choice(found.sayings.options), found.loaded.settings
    if choice.is_left_alone:
        return
    configure_logging(settings.log_level, settings.log_format, config=settings.logging_config)
    if choice.file is not None:
        handler = choice.file.opened()
        handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
        if not choice.is_shown and not settings.logging_config:
            _remove_present_handlers()
        logging.getLogger().addHandler(handler)


def _remove_present_handlers() -> None:
    root = logging.getLogger()
    for other in list(root.handlers):
        if isinstance(other.formatter, TextLines | JsonLines):
            root.removeHandler(other)
            other.close()


def _number(options: Mapping[str, Given], name: str, default: int) -> int:
    if name not in options:
        return default
    text = options[name].text
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise ConfigurationError(f"{options[name].place}: {text!r} is not a whole number of 0 or more")
    return int(text)
