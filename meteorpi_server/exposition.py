"""The text format in which Prometheus collects figures.

Source:
    Prometheus text-based exposition format, version 0.0.4. It is a page of print statements long, which is
    why no client library is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from meteorpi_server.metrics import Sample

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def heading(name: str, kind: str, help_text: str) -> Iterator[str]:
    """The lines in front of the samples of one metric."""
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} {kind}"


def family(name: str, kind: str, help_text: str, samples: Iterable[Sample]) -> Iterator[str]:
    """The lines of one metric with its samples."""
    yield from heading(name, kind, help_text)
    for labels, value in samples:
        yield sample(name, labels, value)


def sample(name: str, labels: Mapping[str, str], value: float) -> str:
    """The line of one sample."""
    return f"{name}{label_text(labels)} {value:.17g}"


def label_text(labels: Mapping[str, str]) -> str:
    """Labels as they stand behind a name."""
    if not labels:
        return ""
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
