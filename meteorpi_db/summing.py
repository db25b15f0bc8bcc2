"""Reports of several stores as one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def summed(first: T, second: T) -> T:
    """Numbers and lists added up; what is true of one of them is true of both together."""
    both = [
        (each.name, getattr(first, each.name), getattr(second, each.name))
        for each in dataclasses.fields(first)
    ]
    values = {name: (a or b) if isinstance(a, bool) else a + b for name, a, b in both}
    return dataclasses.replace(first, **values)
