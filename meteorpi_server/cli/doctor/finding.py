"""What a check has to say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, ParamSpec

from meteorpi_model.errors import MeteorError

Level = Literal["ok", "note", "warning", "error"]
Arguments = ParamSpec("Arguments")


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        level: ``ok``; ``note`` for what need not be mended; ``warning``; ``error`` for what does not work.
        subject: what was looked at.
        detail: what was found.
        remedy: how to mend it; empty when there is nothing to mend.
    """

    level: Level
    subject: str
    detail: str
    remedy: str = ""


def guarded(
    check: Callable[Arguments, Iterable[Finding]], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Iterator[Finding]:
    """The findings of `check`; its own failure is a finding too."""
    subject = check.__name__.removeprefix("check_").replace("_", " ")
    try:
        yield from check(*args, **kwargs)
    except MeteorError as error:
        yield Finding("error", subject, error.detail, "see the log of the database or the file store")
    except OSError as error:
        yield Finding("error", subject, str(error), "let the node's account get at it, or mend the disk")
