"""Running other programs: Git, pip, releases, and what brings them into service."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

from meteorpi_model.errors import ConfigurationError, MeteorError

logger = logging.getLogger("meteorpi.deploy.commands")

_LAST_LINES: Final = 5


def run(
    words: Sequence[str], environ: Mapping[str, str] | None = None, *, timeout: float | None = None
) -> str:
    """Run a command to its end and give its standard output.

    Args:
        words: the program and its arguments; no shell sees them.
        environ: its environment; None hands on the present one.
        timeout: seconds after which it is ended; None waits.

    Raises:
        ConfigurationError: there is no such program.
        MeteorError: it failed, or took too long; the detail has its last words.
    """
    try:
        done = subprocess.run(
            words, env=environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
    except OSError as error:
        raise ConfigurationError(f"cannot run {words[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise MeteorError(f"`{_shown(words)}` did not end within {timeout:g} s") from error
    if done.returncode != 0:
        raise MeteorError(f"`{_shown(words)}` ended with {done.returncode}: {_last_words(done)}")
    logger.debug("command done command=%s", _shown(words))
    return done.stdout.decode("utf-8", "replace")


def _shown(words: Sequence[str]) -> str:
    return " ".join(words)


def _last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    text = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
    return " / ".join(text.splitlines()[-_LAST_LINES:]) or "it said nothing"
