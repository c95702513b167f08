"""Whether every class is in every test fold: else a fold's scores say nothing of the class that it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migxai.audit.checks import Check, CheckEntry

if TYPE_CHECKING:
    from migxai.evaluation.results import Results

_NAME = "Every class is in every test fold"


def check(results: Results) -> list[Check]:
    """Find the smallest class of any test fold, for each comparison."""
    return [_of_comparison(results, name) for name in results.comparisons]


def _of_comparison(results: Results, comparison: str) -> Check:
    table, of = results.tables["classes.tsv"], results.title(comparison)
    rows = table if table.empty else table[(table["comparison"] == comparison) & (table["class"] != "all")]
    if rows.empty:
        return Check(_NAME, of, detail="No table of classes.")
    least = min(int(count) for count in rows["smallest_test"])
    outside = results.description["CrossValidation"] == "leave-one-out"
    return Check(
        _NAME,
        of,
        value=f"{least} in the smallest",
        number=least,
        limit="at least 1",
        passed=None if outside else least > 0,
        detail="With leave-one-out a test fold is one person." if outside else "",
    )


ENTRY = CheckEntry(name="class-coverage", title=_NAME, order=30, of_results=check)
