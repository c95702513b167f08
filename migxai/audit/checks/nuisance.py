"""Whether the best result is more than what age, sex, site, head motion and coverage give without any map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migxai.audit.checks import Check, CheckEntry

if TYPE_CHECKING:
    from migxai.audit.headline import AssessedResult
    from migxai.evaluation.results import Results

_NAME = "The best result is more than nuisance variables give"


def check(results: Results) -> list[Check]:
    """Compare the best result of each comparison with the baseline of nuisance variables."""
    from migxai.audit.headline import assess_results

    assessed = {name: assess_results(results, name) for name in results.comparisons}
    return [_of_comparison(results, name, items[0]) for name, items in assessed.items() if items]


def _of_comparison(results: Results, comparison: str, best: AssessedResult) -> Check:
    from migxai.audit.headline import ALPHA

    table, of = results.tables["model_comparisons.tsv"], f"{results.title(comparison)}: {best.cell.name}"
    if not table.empty:
        pair = {best.cell.model, "nuisance"}
        rows = table[
            (table["comparison"] == comparison)
            & (table["indicator"] == best.cell.indicator)
            & (table["metric"] == "accuracy")
            & table["model_a"].isin(pair)
            & table["model_b"].isin(pair)
        ]
        if not rows.empty:
            row = rows.iloc[0]
            sign = 1 if row["model_a"] == best.cell.model else -1
            difference, p = sign * float(row["value_a"] - row["value_b"]), float(row["p"])
            return Check(
                _NAME,
                of,
                value=f"{100 * difference:+.1f} points, p = {p:.2g}" if p == p else f"{100 * difference:+.1f} points",
                number=difference,
                limit=f"more than 0, p under {ALPHA:g}",
                passed=difference > 0 and p < ALPHA,
                detail=str(row["test"]),
            )
    return Check(_NAME, of, detail="The two were not compared.")


ENTRY = CheckEntry(name="nuisance", title=_NAME, order=40, of_results=check)
