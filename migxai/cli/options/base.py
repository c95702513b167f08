"""What an option is, and the vocabulary that several of them share."""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from migxai.config import Config

Kind = Literal["value", "list", "flag", "switch", "count", "version"]

INDICATORS = ("alff", "falff", "reho", "rfcs")
FORMS = ("mean", "raw", "zscore")


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes
    ----------
    flags
        The names accepted, preferred one first. Of every long name with a hyphen the form with underscores is
        accepted too.
    group
        Key of `GROUPS`.
    section, field
        Where the value goes in `Config`; section ``"config"`` is the top level, ``"action"`` is no setting but
        something to do.
    kind
        ``list`` options may be repeated and extend; a ``switch`` has a ``--no-`` form.
    default
        The default in words, where the field's own is None or empty.
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

    @property
    def dest(self) -> str:
        """The name in the parsed namespace."""
        return f"{self.section}.{self.field}"

    def default_value(self) -> Any:
        """Return the default of the setting (None for an action)."""
        if self.section == "action":
            return None
        config = Config()
        return getattr(config if self.section == "config" else getattr(config, self.section), self.field)

    def default_text(self) -> str:
        """Return the default in words, as ``--help`` shows it; empty for an action."""
        value = self.default_value()
        if self.default is not None or self.section == "action":
            return self.default or ""
        if isinstance(value, bool):
            return "on" if value else "off"
        return " ".join(str(item) for item in value) if isinstance(value, tuple) else f"{value}"


def choices_of(owner: type, name: str) -> tuple[Any, ...]:
    """Return what a ``Literal`` field of a section may be, so that no list of values is written twice."""
    return typing.get_args(typing.get_type_hints(owner)[name])
