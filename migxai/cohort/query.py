"""Conditions on people, such as ``--where "age < 50 and site in (A, B)"``: a small parser of its own, never ``eval``.

    condition   any ["or" any ...]            any    all ["and" all ...]
    all         "(" condition ")" | COLUMN OPERATOR VALUE | COLUMN "in" "(" VALUE, ... ")"

A column's name stands bare, or in backticks if it holds blanks; a value is a number, a word, or text in quotes.
What a missing value would decide is unknown (Kleene's three values), and unknown leaves a person out.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from migxai.errors import UsageError

#: What stands in a table where a value is missing.
MISSING = frozenset({"", "n/a", "N/A", "NA", "NaN", "nan"})

_ORDERED: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TOKEN = re.compile(
    r"""\s*(?:(?P<operator><=|>=|==|!=|<|>|=)|(?P<mark>[(),])|`(?P<column>[^`]+)`|"(?P<double>[^"]*)"|'(?P<single>[^']*)'
    |(?P<word>[^\s<>=!(),`"']+))""",
    re.VERBOSE,
)
_Kind = Literal["operator", "mark", "column", "text", "word", "end"]


@dataclass(frozen=True)
class Single:
    """One column against one value, or several."""

    column: str
    operator: str
    values: tuple[str, ...]

    def columns(self) -> tuple[str, ...]:
        """Names of the columns it reads."""
        return (self.column,)

    def judge(self, row: Mapping[str, Any]) -> tuple[bool | None, str]:
        """Return whether it holds for a row (None: unknown, for a value is missing), and why it does not."""
        value = row[self.column]
        if is_missing(value):
            return None, f"{self.column} is missing"
        text = f"{value:g}" if isinstance(value, float) else str(value)
        reason = f"{self.column} is {text}"
        if self.operator in _ORDERED:
            number = _number(text if not isinstance(value, float) else value)
            if number is None:
                raise UsageError(
                    f"Column {self.column!r} holds text ({text!r}), which {self.operator!r} can't put in order; use "
                    "==, != or in."
                )
            return _ORDERED[self.operator](number, float(self.values[0])), reason
        found = any(_same(value, wanted) for wanted in self.values)
        return found is not (self.operator == "!="), reason


@dataclass(frozen=True)
class Joined:
    """Conditions of which all must hold, or any."""

    word: Literal["and", "or"]
    parts: tuple[Single | Joined, ...]

    def columns(self) -> tuple[str, ...]:  # noqa: D102
        return tuple(dict.fromkeys(column for part in self.parts for column in part.columns()))

    def judge(self, row: Mapping[str, Any]) -> tuple[bool | None, str]:  # noqa: D102
        judged = [part.judge(row) for part in self.parts]
        decisive = self.word == "or"
        if any(holds is decisive for holds, _ in judged):
            verdict: bool | None = decisive
        else:
            verdict = None if any(holds is None for holds, _ in judged) else not decisive
        reasons = [reason for holds, reason in judged if holds is not True and (decisive or holds is verdict)]
        return verdict, ", ".join(dict.fromkeys(reasons))


#: What `parse_where` makes of a text.
Condition = Single | Joined


def parse_where(text: str) -> Condition:
    """Read a condition; raises `UsageError` saying where the text stops to make sense.

    >>> parse_where("age < 50").judge({"age": "61"})
    (False, 'age is 61')
    """
    return _Parser(text).parse()


def check_columns(condition: Condition, columns: Iterable[str], text: str) -> None:
    """Raise `UsageError` for a condition on a column that the table does not have, naming those called nearly so."""
    known = list(columns)
    for column in condition.columns():
        if column not in known:
            by_case = {name.casefold(): name for name in known}
            near = difflib.get_close_matches(column.casefold(), by_case, n=2)
            hint = f"did you mean {' or '.join(repr(by_case[name]) for name in near)}?" if near else ""
            raise UsageError(
                f"--where {text!r}: participants.tsv has no column {column!r}; "
                + (hint or f"it has {', '.join(known) or 'none'}.")
            )


def is_missing(value: Any) -> bool:
    """Whether a cell holds no value: None, NaN, or what stands for it as text."""
    if value is None or isinstance(value, str):
        return value is None or value in MISSING
    return isinstance(value, float) and math.isnan(value)


def _number(value: str | float) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _same(value: Any, wanted: str) -> bool:
    """Equal as numbers where both are, else as text: 1, 1.0 and "1" are the same."""
    numbers = _number(value), _number(wanted)
    return numbers[0] == numbers[1] if None not in numbers else str(value) == wanted


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[_Kind, str]] = []
        place = 0
        while text[place:].strip():
            match = _TOKEN.match(text, place)
            if match is None:
                self.refuse(f"{text[place:].strip()!r} can't be read")
            kind = str(match.lastgroup)
            known: dict[str, _Kind] = {"operator": "operator", "mark": "mark", "column": "column", "word": "word"}
            self.tokens.append((known.get(kind, "text"), match[kind]))
            place = match.end()
        self.tokens.append(("end", "the end"))
        self.place = 0

    def parse(self) -> Condition:
        condition = self.joined("or")
        if self.peek()[0] != "end":
            self.refuse(f"'and' or 'or' is missing before {self.peek()[1]!r}")
        return condition

    def joined(self, word: Literal["and", "or"]) -> Condition:
        parts = [self.part(word)]
        while self.peek() in (("word", word), ("word", word.upper())):
            self.take()
            parts.append(self.part(word))
        return parts[0] if len(parts) == 1 else Joined(word, tuple(parts))

    def part(self, word: Literal["and", "or"]) -> Condition:
        return self.joined("and") if word == "or" else self.single()

    def single(self) -> Condition:
        if self.peek() == ("mark", "("):
            self.take()
            inner = self.joined("or")
            self.expect(")")
            return inner
        kind, column = self.take()
        if kind not in ("word", "column") or (kind == "word" and column.lower() in ("and", "or", "in", "not")):
            self.refuse(f"a column's name is expected, not {column!r}")
        kind, sign = self.take()
        if (kind, sign.lower()) == ("word", "in"):
            return Single(column, "in", self.values())
        if kind != "operator" or sign == "=":
            self.refuse(f"after {column!r} one of < <= > >= == != in is expected, not {sign!r}")
        value = self.value()
        if sign in _ORDERED and _number(value) is None:
            self.refuse(f"{sign!r} puts numbers in order, and {value!r} is none")
        return Single(column, sign, (value,))

    def values(self) -> tuple[str, ...]:
        self.expect("(")
        values = [self.value()]
        while self.peek() == ("mark", ","):
            self.take()
            values.append(self.value())
        self.expect(")")
        return tuple(values)

    def value(self) -> str:
        kind, value = self.take()
        if kind not in ("word", "text"):
            self.refuse(f"a value is expected, not {value!r}")
        return value

    def expect(self, mark: str) -> None:
        found = self.take()
        if found != ("mark", mark):
            self.refuse(f"{mark!r} is expected, not {found[1]!r}")

    def peek(self) -> tuple[_Kind, str]:
        return self.tokens[self.place]

    def take(self) -> tuple[_Kind, str]:
        token = self.tokens[self.place]
        self.place = min(self.place + 1, len(self.tokens) - 1)
        return token

    def refuse(self, why: str) -> NoReturn:
        raise UsageError(f'--where {self.text!r}: {why}. Write it as "age < 50" or "site in (A, B) and sex == F".')
