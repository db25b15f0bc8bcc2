"""How one setting is declared, and how its value is read out of a text or out of TOML.

A declaration is the only place that knows the type, the limits, the default and the meaning of a setting: the
environment, the configuration file, the options, ``meteorpi settings`` and the reference page all use it.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, get_type_hints

PREFIX: Final = "METEORPI_"
"""What the name of each variable begins with."""

_NUMBER: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})
_KINDS: Final = {str: "str", int: "int", float: "float", bool: "bool", tuple[str, ...]: "list"}
_WANTED: Final = {
    "str": "a text in quotes",
    "int": "a whole number without quotes",
    "float": "a number without quotes",
    "bool": "true or false without quotes",
    "list": 'a list of texts, such as ["a", "b"]',
}


def setting(
    default: object,
    help: str,  # noqa: A002 - the published word
    *,
    is_secret: bool = False,
    choices: tuple[str, ...] = (),
    minimum: int = 0,
    maximum: int | None = None,
    heading: str = "",
) -> Any:
    """Declare a setting.

    Args:
        default: value when nothing says otherwise.
        help: one phrase for people, units included; choices and limits are added to it.
        is_secret: never shown, and also readable from a file that ``<name>_file`` names.
        choices: the only texts allowed, whatever their case; "" among them allows an empty one.
        minimum: least whole number allowed.
        maximum: greatest whole number allowed; None for any.
        heading: begins a group of settings, which goes on to the next heading.
    """
    metadata = {
        "help": help,
        "is_secret": is_secret,
        "choices": choices,
        "minimum": minimum,
        "maximum": maximum,
        "heading": heading,
    }
    return dataclasses.field(default=default, repr=not is_secret, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What is known about one setting; the attributes are those of `setting`."""

    name: str
    kind: str
    default: Any
    help: str
    is_secret: bool
    choices: tuple[str, ...]
    minimum: int
    maximum: int | None
    heading: str

    @property
    def variable(self) -> str:
        """The variable of the environment that sets it."""
        return PREFIX + self.name.upper()

    @property
    def file_key(self) -> str:
        """The key that names a file with the value; for secrets only."""
        return f"{self.name}_file"

    @property
    def explanation(self) -> str:
        """`help` with the choices or limits."""
        return "; ".join(part for part in (self.help, self._limits()) if part)

    def from_text(self, text: str) -> Any:
        """The value that a variable or an option gives.

        Raises:
            ValueError: it is none of this setting.
        """
        text = text.strip()
        if self.kind == "int":
            return self._within_limits(_read_count(text))
        if self.kind == "float":
            return _read_number(text)
        if self.kind == "bool":
            return _read_flag(text)
        if self.kind == "list":
            return tuple(item.strip() for item in text.split(",") if item.strip())
        return self._chosen(text)

    def from_toml(self, value: object) -> Any:
        """The value that a configuration file gives.

        Raises:
            ValueError: it is none of this setting.
        """
        if self.kind == "list":
            return self._items(value)
        if self.kind == "float" and type(value) in (int, float):
            return _finite(value)
        if type(value).__name__ != self.kind:  # exactly: in Python True is a whole number too
            raise ValueError(f"must be {_WANTED[self.kind]}, not {_shown(value)}")
        if isinstance(value, str):
            return self._chosen(value)
        return self._within_limits(value) if self.kind == "int" else value

    def _items(self, value: object) -> tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ValueError(f"must be {_WANTED['list']}")

    def _chosen(self, text: str) -> str:
        if not self.choices:
            return text
        for choice in self.choices:
            if choice.casefold() == text.casefold():
                return choice
        raise ValueError(f"must be {self._limits()}, not {text!r}")

    def _within_limits(self, number: Any) -> Any:
        if number < self.minimum or (self.maximum is not None and number > self.maximum):
            raise ValueError(f"must be {self._limits() or 'at least 0'}, not {number}")
        return number

    def _limits(self) -> str:
        if self.choices:
            named = [choice for choice in self.choices if choice]
            return f"one of {', '.join(named)}" + (", or empty" if "" in self.choices else "")
        if self.kind != "int":
            return ""
        least = f"at least {self.minimum}" if self.minimum else ""
        most = "" if self.maximum is None else f"at most {self.maximum}"
        return " and ".join(part for part in (least, most) if part)


@functools.cache
def declarations(settings_class: type) -> dict[str, Declaration]:
    """Every setting of a dataclass of settings by name, in the order of their declaration."""
    hints = get_type_hints(settings_class)
    return {
        field.name: Declaration(
            name=field.name, kind=_KINDS[hints[field.name]], default=field.default, **field.metadata
        )
        for field in dataclasses.fields(settings_class)
    }


def as_text(value: object) -> str:
    """A value as a variable of the environment would have it."""
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def suggestion(name: str, known: Iterable[str]) -> str:
    """A sentence with the name that was probably meant, and a space in front; empty when none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""


def _shown(value: object) -> str:
    """What stands in the file, without repeating what may be a secret."""
    names = {
        str: "a text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        list: "a list",
        dict: "a table",
    }
    return names.get(type(value), f"a {type(value).__name__}")


def _read_count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _read_number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a number of 0 or more")
    return float(text)


def _finite(number: Any) -> float:
    if not 0 <= number < math.inf:
        raise ValueError(f"must be a number of 0 or more, not {number}")
    return float(number)


def _read_flag(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")
