"""What an option of the command line is, so that whatever has options of its own can carry them.

`migxai.cli.options` lists those of migxai itself; an entry of a registry (an indicator, a network ...) brings its own
in `Entry.options`. How values are read from text stands here too: each reader refuses with a sentence what it can't
read.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import typing
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
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


def whole_or_auto(text: str) -> int | str:
    """Read a whole number or ``auto``."""
    return text if text == "auto" else whole(text)


def number_or_native(text: str) -> float | str:
    """Read a number or ``native``."""
    return text if text == "native" else number(text)


def label(entity: str) -> Callable[[str], str]:
    """Return the reader of BIDS labels that come with or without their entity in front."""

    def read(text: str) -> str:
        stripped = text.removeprefix(f"{entity}-")
        if not re.fullmatch(r"[A-Za-z0-9+*?\[\]!-]+", stripped) or re.match(r"(sub|ses|task|run)-", stripped):
            hint = "; put bids_dir, output_dir and the level in front of this option" if "/" in text else ""
            raise ArgumentTypeError(f"{text!r} is no {entity}- label (letters and digits; * and ? stand for any){hint}")
        return stripped

    return read


def path(text: str) -> Path:
    """Read a path, made absolute: nothing may depend on where a child process happens to run."""
    return Path(text).expanduser().absolute()


def derivative(text: str) -> tuple[str, Path]:
    """Read ``NAME=PATH``; of a bare path the name is the folder's, up to its version (``fmriprep-24.1``)."""
    name, equals, location = text.partition("=")
    if not equals:
        name, location = re.split(r"[-_]", path(text).name)[0].lower(), text
    if not name or not location:
        raise ArgumentTypeError(f"{text!r} is not NAME=PATH, such as fmriprep=/data/derivatives/fmriprep")
    return name, path(location)


def memory(text: str, unit: str = "") -> float:
    """Read an amount of memory in GB: ``16``, ``16G``, ``16000M``, ``0.5T``.

    Programs differ in what a bare number is; nobody has 1000 GB to a subject and nobody gets far on 999 MB.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text.strip(), flags=re.IGNORECASE)
    if match is None or float(match[1]) == 0:
        raise ArgumentTypeError(f"{text!r} is not an amount of memory such as 16G or 16000M")
    value = float(match[1])
    suffix = match[2].upper() or unit or ("G" if value < 1000 else "M")
    return value * {"K": 1e-6, "M": 1e-3, "G": 1.0, "T": 1e3}[suffix]


def memory_gb(text: str) -> float:
    """Read an amount of memory whose bare number is in GB."""
    return memory(text, "G")


def memory_mb(text: str) -> float:
    """Read an amount of memory whose bare number is in MB."""
    return memory(text, "M")


def bids_filters(text: str) -> dict[str, dict[str, Any]]:
    """Read a BIDS filter file: JSON, a dictionary of entities for each query.

    JSON's null (the entity must be absent) becomes the string ``Query.NONE``, since TOML has no null.
    """
    try:
        content = json.loads(Path(text).read_text(encoding="utf-8"))
    except OSError as error:
        raise ArgumentTypeError(f"the BIDS filter file {text} can't be read ({error.strerror})") from error
    except ValueError as error:
        raise ArgumentTypeError(f"the BIDS filter file {text} is not valid JSON ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(item, dict) for item in content.values()):
        raise ArgumentTypeError(f'the BIDS filter file {text} must look like {{"bold": {{"session": "01"}}}}')
    return {
        query: {entity: _no_null(value) for entity, value in entities.items()} for query, entities in content.items()
    }


def _no_null(value: Any) -> Any:
    if isinstance(value, list):
        return [_no_null(item) for item in value]
    return "Query.NONE" if value is None else value


def weights(text: str) -> str | Path:
    """Read ``imagenet``, ``random`` or the name of a file."""
    return text if text in ("imagenet", "random") else path(text)


def plugin(text: str) -> str | Path:
    """Read ``slurm`` or the name of a file."""
    return text if text == "slurm" else path(text)


def array_index(text: str) -> str:
    """Check the form of ``I/N``, ``auto`` or ``auto/N``."""
    match = re.fullmatch(r"(auto|\d+)(?:/(\d+))?", text)
    if match is None or (match[1] != "auto" and not match[2]):
        raise ArgumentTypeError(f"{text!r} is not I/N (such as 3/20), auto or auto/N")
    if match[2] and (int(match[2]) < 1 or (match[1] != "auto" and not 1 <= int(match[1]) <= int(match[2]))):
        raise ArgumentTypeError(f"{text!r} is out of range: the parts are numbered from 1 to N")
    return text
