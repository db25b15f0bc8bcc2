"""How commands come by passwords: from a file or a question, never as an argument that everyone can see."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def password_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `command` the option ``--password-file``, handed over as `password`, a text or None."""
    return click.option(
        "--password-file",
        "password",
        type=click.File("r", encoding="utf-8"),
        callback=lambda context, parameter, stream: None if stream is None else first_line(stream.read()),
        help="Take the password from the first line of FILE; - is standard input.",
    )(command)


def ask_password(prompt: str, *, is_new: bool = True) -> str:
    """Ask the person at the terminal; a new password twice."""
    answer: str = click.prompt(prompt, hide_input=True, confirmation_prompt=is_new, err=True)
    return answer


def first_line(text: str) -> str:
    """The first line of `text` without its end."""
    return text.splitlines()[0] if text else ""


def write_secret(path: Path, secret: str) -> None:
    """Write `secret` to a new file that only its owner can read."""
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(secret + "\n", encoding="utf-8")
