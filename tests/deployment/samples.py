"""The sample configurations of ``wsgi/``, as printed but for the places where they find things.

Whatever is to be replaced has to be there: a sample that changed must not pass unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[2] / "wsgi"


def sample(name: str, replacements: Mapping[str, str]) -> str:
    """The text of the sample `name` with each key of `replacements` replaced by its value."""
    text = (SAMPLES / name).read_text()
    for old, new in replacements.items():
        assert old in text, f"wsgi/{name} has no {old!r} any more"
        text = text.replace(old, new)
    return text


def without_lines(text: str, beginning: str) -> str:
    """`text` without the lines that begin with `beginning`, spaces aside."""
    kept = [line for line in text.splitlines(keepends=True) if not line.lstrip().startswith(beginning)]
    assert len(kept) < len(text.splitlines()), f"no line begins with {beginning!r}"
    return "".join(kept)


def without_block(text: str, first_line: str, last_line: str) -> str:
    """`text` without its first block from the line `first_line` to the next line `last_line`."""
    lines = text.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.rstrip() == first_line)
    last = next(number for number, line in enumerate(lines) if number > first and line.rstrip() == last_line)
    return "".join(lines[:first] + lines[last + 1 :])
