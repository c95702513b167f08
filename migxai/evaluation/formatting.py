"""How numbers and lists are written in sentences and tables that people read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

#: How a statement is meant: good or bad news, or something to look at.
Tone = Literal["good", "bad", "warn", ""]


def cell_text(cell: object) -> str:
    """Write a cell as a person would: nothing known as a dash, small p values with few digits."""
    if cell is None or (isinstance(cell, float) and cell != cell) or cell in ("", "n/a"):
        return "–"
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)


def percent(value: float) -> str:
    """Write a share as a percentage, with a blank that does not break; a dash where there is none."""
    return "–" if value != value else f"{100 * value:.1f} %"


def interval(low: float, high: float) -> str:
    """Write an interval of shares, such as ``41.7 to 68.8 %``; a dash where there is none."""
    return "–" if low != low or high != high else f"{100 * low:.1f} to {100 * high:.1f} %"


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence does: ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def plural(count: int, noun: str, many: str = "") -> str:
    """Write a number with its noun: ``1 person``, ``2 people``."""
    return f"{count} {noun if count == 1 else many or noun + 's'}"


def slug(text: str) -> str:
    """Return a name for ids and files: letters, digits and ``-``."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()
