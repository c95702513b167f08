"""One way to add things: an entry is a frozen dataclass in a module of its own, here or in another package.

Indicators, networks, CAM methods, estimators and checks each have a registry. Built-in entries are the objects named
``ENTRY`` in the modules of a package; entries of other packages are named by Python entry points (the group is in
`Registry.group`). Whatever lists them (options, descriptor, texts, labels) asks the registry, so that a new entry is
one file.

Listing entries imports their modules, also for ``--help``: such a module imports nothing heavy at its top, numpy
included; what it needs to compute it imports in its functions.
"""

from __future__ import annotations

import dataclasses
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from migxai.config import Config
from migxai.errors import UsageError
from migxai.options import Option


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What every entry says of itself.

    Attributes
    ----------
    name
        As users write it on the command line; part of file names.
    title
        As people read it in reports and texts.
    citation
        Reference for the methods text, in full, or a key of ``reports/references.yml``; empty where there is none.
    order
        Entries are listed by it, then by name; those of other packages come last.
    options
        Options of the command line that are its own. Those of an entry of another package have the section
        ``extensions`` and fields ``<name of the entry>.<name of the setting>``.
    origin
        Name and version of the package that brought it, set when it is found; empty for built-in entries.
    """

    name: str
    title: str
    citation: str = ""
    order: int = 100
    options: tuple[Option, ...] = ()
    origin: str = dataclasses.field(default="", compare=False)

    def setting(self, config: Config, name: str) -> Any:
        """Return the value of one of its own options.

        Parameters
        ----------
        config
            The configuration of the run.
        name
            Name of the setting: the option's field, without the name of the entry in front.

        Raises
        ------
        KeyError
            If it has no such option.
        """
        for option in self.options:
            if option.field in (name, f"{self.name}.{name}"):
                return option.value(config)
        raise KeyError(f"{self.name} has no option {name!r}")


E = TypeVar("E", bound=Entry)


class Registry(Mapping[str, E], Generic[E]):
    """Entries of one kind by name.

    Parameters
    ----------
    kind
        What an entry is, in words, for messages.
    entry_type
        Class of its entries.
    package
        Whose modules hold the built-in entries; the group of entry points is ``migxai.`` and `group`.
    group
        Last part of the name of the group of entry points, such as ``indicators``.
    """

    def __init__(self, kind: str, entry_type: type[E], *, package: str, group: str) -> None:
        self.kind = kind
        self.entry_type = entry_type
        self.package = package
        self.group = f"migxai.{group}"
        self._problems: list[str] = []

    def __getitem__(self, name: str) -> E:
        """Return an entry.

        Raises
        ------
        UsageError
            If there is none of that name.
        """
        if name in self._entries:
            return self._entries[name]
        close = get_close_matches(name, self._entries, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UsageError(f"There is no {self.kind} {name!r}; there are {', '.join(self._entries)}.{hint}")

    def get(self, name: str, default: Any = None) -> Any:
        """Return an entry, or the default if there is none of that name."""
        try:
            return self[name]
        except UsageError:  # `Mapping.get` expects a KeyError
            return default

    def title(self, name: str) -> str:
        """Return how people read an entry's name; a name that is not known is returned as it is."""
        return self._entries[name].title if name in self._entries else name

    def __contains__(self, name: object) -> bool:
        """Say whether there is an entry of that name."""
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        """Iterate over names, in order."""
        return iter(self._entries)

    def __len__(self) -> int:
        """Count entries."""
        return len(self._entries)

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each entry of another package that could not be used; the rest works."""
        _ = self._entries
        return tuple(self._problems)

    @cached_property
    def _entries(self) -> dict[str, E]:
        package = import_module(self.package)
        modules = [import_module(f"{self.package}.{item.name}") for item in pkgutil.iter_modules(package.__path__)]
        built_in = [module.ENTRY for module in modules if hasattr(module, "ENTRY")]
        found = {entry.name: entry for entry in sorted(built_in, key=lambda entry: (entry.order, entry.name))}
        for point in sorted(entry_points(group=self.group), key=lambda point: (point.name, point.value)):
            entry = self._load(point, found)
            if entry is not None:
                found[entry.name] = entry
        return found

    def _load(self, point: EntryPoint, found: Mapping[str, E]) -> E | None:
        """Load an entry of another package, or note why it can't be used."""
        origin = f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value
        try:
            entry = point.load()
        except Exception as error:  # whatever another package does, it must not end the run
            self._problems.append(f"The {self.kind} {point.name!r} of {origin} can't be imported: {error!r}.")
            return None
        if not isinstance(entry, self.entry_type):
            kind = f"migxai's {self.entry_type.__name__}"
            self._problems.append(
                f"The {self.kind} {point.name!r} of {origin} is not an object of {kind}; it is left out."
            )
            return None
        if entry.name in found:
            other = found[entry.name].origin or "migxai itself"
            self._problems.append(
                f"The {self.kind} {entry.name!r} of {origin} has a name that {other} has taken; it is left out."
            )
            return None
        return dataclasses.replace(entry, origin=origin)
