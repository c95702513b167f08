"""Who is compared with whom: classes made of the values of the label column.

Written ``NAME=A:B+C``: two classes, ``A`` and ``B+C``, the second of which holds everyone labelled B or C. Nothing here
needs pandas or numpy, so that the command line can refuse a comparison at once.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from migxai.errors import InputError, UsageError

#: The comparisons of the paper, by name; its labels may be spelt in upper or lower case.
BUILT_IN: dict[str, str] = {
    "hc_vs_migraine": "HC:MWoA+MWA",
    "hc_vs_mwoa_vs_mwa": "HC:MWoA:MWA",
    "mwoa_vs_mwa": "MWoA:MWA",
}
_PAPER_LABELS = ("HC", "MWoA", "MWA")

#: Labels of people without the disease, in lower case and without blanks, ``-`` and ``_``.
_CONTROLS = frozenset(
    {"hc", "nc", "cn", "con", "ctl", "ctrl", "control", "controls", "hv", "healthy", "healthycontrol"}
    | {"healthycontrols", "healthyvolunteer", "healthyvolunteers", "normal", "td", "tdc"}
    | {"typical", "typicallydeveloping"}
)

#: A label column of numbers is taken for classes up to this many values, one of words up to the second.
MAX_NUMBERS = 5
MAX_WORDS = 10


@dataclass(frozen=True)
class Comparison:
    """Classes to tell apart, under a name of letters, digits and ``_``.

    `classes` holds the label of each class with the values of the label column that belong to it, the negative class
    first: of two classes the second is the positive one.
    """

    name: str
    classes: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the classes; class i of any array is ``labels[i]``."""
        return tuple(label for label, _ in self.classes)

    @property
    def text(self) -> str:
        """The comparison as it is written on the command line."""
        return f"{self.name}={':'.join('+'.join(groups) for _, groups in self.classes)}"

    def class_of(self, group: str | None) -> int | None:
        """Class of a person with this value in the label column; None if the comparison does not include them."""
        return next((place for place, (_, groups) in enumerate(self.classes) if group in groups), None)

    def members(self, groups: Iterable[str | None]) -> tuple[list[int], list[int]]:
        """Places in `groups` of the people compared, and the class of each."""
        found = [(row, self.class_of(group)) for row, group in enumerate(groups)]
        return [row for row, place in found if place is not None], [place for _, place in found if place is not None]


def parse_comparison(text: str) -> Comparison:
    """Read ``NAME=A:B+C``, or the name of a comparison in `BUILT_IN`.

    Raises `UsageError` if the name is unknown or no name, there are fewer than two classes, a class is empty, or a
    label stands twice.

    >>> parse_comparison("hc_vs_migraine").classes
    (('HC', ('HC',)), ('MWoA+MWA', ('MWoA', 'MWA')))
    """
    name, equals, classes = (part.strip() for part in text.partition("="))
    if not equals:
        built_in = {known.casefold(): known for known in BUILT_IN}.get(name.casefold())
        if built_in is None:
            near = _near(name, BUILT_IN)
            raise UsageError(
                f"There is no comparison {name!r} built in{near or '; there are ' + ', '.join(BUILT_IN) + '.'} "
                "Say what its classes are: --comparison NAME=A:B+C, with values of the label column."
            )
        name, classes = built_in, BUILT_IN[built_in]
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise UsageError(
            f"{name!r} can't name a comparison, for files are called after it: use letters, digits and _ "
            f"(--comparison NAME=A:B+C)."
        )
    parts = [tuple(group.strip() for group in part.split("+")) for part in classes.split(":")]
    if not all(group for part in parts for group in part):
        raise UsageError(f"Comparison {text!r} has an empty class or label; write it as {name}=A:B+C.")
    if len(parts) < 2:
        raise UsageError(f"Comparison {text!r} has one class alone; part the classes by ':', as in {name}=A:B+C.")
    counts = Counter(group.casefold() for part in parts for group in part)
    twice = next((group for part in parts for group in part if counts[group.casefold()] > 1), None)
    if twice is not None:
        raise UsageError(f"Comparison {text!r} names {twice!r} twice; a person can be in one of its classes only.")
    return Comparison(name, tuple(("+".join(part), part) for part in parts))


def parse_comparisons(texts: Iterable[str]) -> tuple[Comparison, ...]:
    """Read several comparisons; `UsageError` also if two have the same name (in whatever case: they name files)."""
    found = tuple(parse_comparison(text) for text in texts)
    counts = Counter(item.name.casefold() for item in found)
    twice = next((item.name for item in found if counts[item.name.casefold()] > 1), None)
    if twice is not None:
        raise UsageError(f"Two comparisons are called {twice!r}; give each --comparison a name of its own.")
    return found


def choose_comparisons(
    wanted: Sequence[str], groups: Sequence[str], *, left_out: Sequence[str] = (), column: str = "group"
) -> tuple[tuple[Comparison, ...], tuple[str, ...]]:
    """Settle the comparisons of a cohort, in the spelling of its table; with messages.

    `wanted` are texts as typed; if there are none, the paper's three where its labels are all there, otherwise one over
    all labels. `groups` holds the label of each person in the cohort, `left_out` those of people who are not in it.

    Raises
    ------
    UsageError
        As `parse_comparisons` does, and if a label is not in the table.
    InputError
        If the column holds one label only, numbers or names rather than classes, or labels that differ in case
        alone; if a class has nobody left.
    """
    present = sorted(set(groups), key=_order)
    known = sorted({*groups, *left_out}, key=_order)
    _refuse_cases(known, column)
    messages: tuple[str, ...] = ()
    if wanted:
        parsed = parse_comparisons(wanted)
    elif all(label.casefold() in {group.casefold() for group in present} for label in _PAPER_LABELS):
        parsed = parse_comparisons(BUILT_IN)
    else:
        _refuse_no_classes(present, column)
        parsed = (_over_all(present),)
        messages = (_say_default(parsed[0], column),)
    chosen = tuple(_spelt(item, known, column) for item in parsed)
    for item in chosen:
        for label, values in item.classes:
            if not set(values) & set(present):
                raise InputError(
                    f"Class {label!r} of {item.name} has nobody left: everyone with that {column} was left out. The "
                    "reasons are in the cohort table; mend them, or leave the class out with --comparison."
                )
    used = {group for item in chosen for _, values in item.classes for group in values}
    unused = [f"{group} ({groups.count(group)})" for group in present if group not in used]
    if unused:
        messages += (f"In no comparison are the people whose {column} is {', '.join(unused)}.",)
    return chosen, messages


def _spelt(comparison: Comparison, known: Sequence[str], column: str) -> Comparison:
    """Give a comparison's labels the spelling of the table."""
    by_case = {group.casefold(): group for group in known}
    classes = []
    for _, values in comparison.classes:
        for value in values:
            if value.casefold() not in by_case:
                _refuse_no_classes(known, column)
                raise UsageError(
                    f"Comparison {comparison.name} needs the label {value!r}, which column {column!r} does not "
                    f"hold{_near(value, known) or '; it holds ' + ', '.join(known) + '.'}"
                )
        spelt = tuple(by_case[value.casefold()] for value in values)
        classes.append(("+".join(spelt), spelt))
    return Comparison(comparison.name, tuple(classes))


def _over_all(present: Sequence[str]) -> Comparison:
    """Compare all labels with each other, a control-like one first."""
    ordered = sorted(present, key=lambda group: (not _is_control(group), _order(group)))
    name = "_vs_".join(
        re.sub(r"[^A-Za-z0-9]+", "_", group).strip("_") or f"class{place}" for place, group in enumerate(ordered)
    )
    return Comparison(name, tuple((group, (group,)) for group in ordered))


def _say_default(comparison: Comparison, column: str) -> str:
    labels = comparison.labels
    text = f"Without --comparison, the labels of {column!r} are compared with each other: {comparison.text}"
    if len(labels) == 2:
        text += f"; {labels[1]!r} counts as positive"
        if not _is_control(labels[0]):
            text += " (by the alphabet alone: give --comparison NAME=NEGATIVE:POSITIVE for the other way round)"
    return f"{text}."


def _refuse_cases(known: Sequence[str], column: str) -> None:
    spelling: dict[str, str] = {}
    for group in known:
        other = spelling.setdefault(group.casefold(), group)
        if other != group:
            raise InputError(
                f"Column {column!r} holds both {other!r} and {group!r}; write them alike in participants.tsv if they "
                "are one group, and apart by more than upper and lower case if not."
            )


def _refuse_no_classes(labels: Sequence[str], column: str) -> None:
    """Refuse a column that holds one label, or as many as no column of classes does."""
    choose = "Choose a column of classes by --label-column, or name them by --comparison NAME=A:B."
    if len(labels) < 2:
        held = f"one label only, {labels[0]!r}" if labels else "no label"
        raise InputError(f"Column {column!r} holds {held}, so there is nothing to compare. {choose}")
    numbers = [number for label in labels if (number := _number(label)) is not None]
    broken = not all(number.is_integer() for number in numbers)
    if len(numbers) == len(labels) and (broken or len(labels) > MAX_NUMBERS):
        raise InputError(
            f"Column {column!r} holds numbers ({len(labels)} different ones, {labels[0]} to {labels[-1]}), not "
            f"classes. {choose}"
        )
    if len(labels) > MAX_WORDS:
        shown = ", ".join(labels[:MAX_NUMBERS])
        raise InputError(f"Column {column!r} holds {len(labels)} different labels ({shown}...). {choose}")


def _number(label: str) -> float | None:
    try:
        return float(label)
    except ValueError:
        return None


def _order(label: str) -> tuple[bool, float, str, str]:
    """Numbers by size, then words by the alphabet."""
    number = _number(label)
    return (number is None, number or 0.0, label.casefold(), label)


def _is_control(label: str) -> bool:
    return re.sub(r"[\s_-]", "", label.casefold()) in _CONTROLS


def _near(name: str, known: Iterable[str]) -> str:
    """Say what was perhaps meant; empty if nothing known comes near."""
    by_case = {item.casefold(): item for item in known}
    near = difflib.get_close_matches(name.casefold(), by_case, n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(by_case[item]) for item in near)}?" if near else ""
