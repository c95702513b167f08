"""Write ``entries.md``, the table of what is built in, from the registries; with ``--check`` only compare."""

from __future__ import annotations

import sys
from pathlib import Path

from migxai.audit import CHECKS
from migxai.explain.methods import METHODS
from migxai.indicators.registry import INDICATORS
from migxai.learning.backbones import NETWORKS
from migxai.learning.estimators import ESTIMATORS
from migxai.registry import Entry, Registry
from migxai.reports.rendering import references_with

FILE = Path(__file__).with_name("entries.md")

HEADINGS = {
    "Indicators (`--indicators`)": INDICATORS,
    "Networks (`--models`, besides `timm:NAME`)": NETWORKS,
    "Estimators (`--models`)": ESTIMATORS,
    "CAM methods (`--cam`)": METHODS,
    "Checks (always made, where they can be)": CHECKS,
}


def main(arguments: list[str]) -> int:
    """Write or check the table; returns 0, or 1 if the file is not what it should be."""
    text = "\n".join(["# What is built in", "", *(line for item in HEADINGS.items() for line in _section(*item))])
    if arguments == ["--check"]:
        if FILE.is_file() and FILE.read_text(encoding="utf-8") == text:
            return 0
        sys.stderr.write(f"{FILE.name} is not what the registries hold; run python docs/generate.py\n")
        return 1
    FILE.write_text(text, encoding="utf-8")
    return 0


def _section(heading: str, registry: Registry[Entry]) -> list[str]:
    references = references_with(registry.values())
    rows = [
        _row(entry, references[entry.name].entry if entry.citation else "–")
        for entry in registry.values()
        if not entry.origin
    ]
    return [f"## {heading}", "", "| name | what | options | reference |", "|---|---|---|---|", *rows, ""]


def _row(entry: Entry, reference: str) -> str:
    options = " ".join(f"`{option.flags[0]}`" for option in entry.options)
    return f"| `{entry.name}` | {entry.title} | {options or '–'} | {reference} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
