"""What an option of the command line is, so that whatever has options of its own can carry them.

`migxai.cli.options` lists those of migxai itself; an entry of a registry (an indicator, a network ...) brings its own
in `Entry.options`. Readers of values that entries need stand here too, the others in `migxai.cli.values`.
"""

from __future__ import annotations

import dataclasses
import math
import re
import typing
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from migxai.config import Config
from migxai.errors import UsageError

Kind = Literal["value", "list", "flag", "switch", "count", "version"]


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes
    ----------
    flags
        The names accepted, preferred one first. Of every long name with a hyphen the form with underscores is
        accepted too.
    group
        Key of `migxai.cli.options.GROUPS`: the heading under which ``--help`` shows it.
    section, field
        Where the value goes in `Config`; section ``"config"`` is the top level, ``"action"`` is no setting but
        something to do, and ``"extensions"`` holds the options of other packages, whose field is
        ``<entry's name>.<name>``.
    kind
        ``list`` options may be repeated and extend; a ``switch`` has a ``--no-`` form.
    default
        The default in words, where the field's own is None or empty.
    initial
        The default of an option of another package, which has no field in `Config`.
    """

    flags: tuple[str, ...]
    group: str
    section: str
    field: str
    help: str
    kind: Kind = "value"
    parse: Callable[[str], Any] = str
    choices: tuple[Any, ...] = ()
    metavar: str | None = None
    default: str | None = None
    initial: Any = None

    @property
    def dest(self) -> str:
        """The name in the parsed namespace."""
        return f"{self.section}.{self.field}"

    def value(self, config: Config) -> Any:
        """Return the value that a configuration holds (None for an action)."""
        if self.section == "action":
            return None
        if self.section == "extensions":
            return config.extensions.get(self.field, self.initial)
        return getattr(config if self.section == "config" else getattr(config, self.section), self.field)

    def set(self, config: Config, value: Any) -> Config:
        """Return a configuration with another value; it is not checked."""
        if self.section == "extensions":
            return dataclasses.replace(config, extensions={**config.extensions, self.field: value})
        return config.replace(self.section, **{self.field: value})

    def default_value(self) -> Any:
        """Return the default of the setting (None for an action)."""
        return self.value(Config())

    def default_text(self) -> str:
        """Return the default in words, as ``--help`` shows it; empty for an action."""
        value = self.default_value()
        if self.default is not None or self.section == "action":
            return self.default or ""
        return words(value)

    def checked(self, value: Any, where: str) -> Any:
        """Check a value that came from a configuration file, as the command line checks what is typed.

        Raises
        ------
        UsageError
            If it does not fit; `where` names the setting.
        """
        if self.kind == "list":
            items = value if isinstance(value, list | tuple) else [value]
            return tuple(self._checked_item(item, where) for item in items)
        if self.kind in ("switch", "flag"):
            if not isinstance(value, bool):
                raise UsageError(f"{where} = {value!r} does not fit; it is true or false.")
            return value
        return self._checked_item(value, where)

    def _checked_item(self, value: Any, where: str) -> Any:
        try:
            read = self.parse(str(value))
        except (ArgumentTypeError, ValueError) as error:
            raise UsageError(f"{where} = {value!r} does not fit: {error}.") from error
        if self.choices and read not in self.choices:
            raise UsageError(f"{where} = {value!r} does not fit; it is one of {', '.join(map(str, self.choices))}.")
        return read


def words(value: Any) -> str:
    """Return the value of a setting in words."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(str(item) for item in value) if isinstance(value, tuple) else f"{value}"


def choices_of(owner: type, name: str) -> tuple[Any, ...]:
    """Return what a ``Literal`` field of a section may be, so that no list of values is written twice."""
    return typing.get_args(typing.get_type_hints(owner)[name])


def number(text: str) -> float:
    """Read a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ArgumentTypeError(f"{text!r} is not a number")
    return value


def whole(text: str) -> int:
    """Read a whole number that is not negative."""
    if not re.fullmatch(r"\d+", text):
        raise ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def count(text: str) -> int:
    """Read a whole number of at least 1."""
    value = whole(text)
    if value < 1:
        raise ArgumentTypeError("it must be at least 1")
    return value
