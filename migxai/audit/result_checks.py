"""Checks of the results and of the maps, each with a number, a limit and whether it passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from migxai.audit.verdict import ALPHA, Judged
from migxai.errors import InputError
from migxai.evaluation.results import Results
from migxai.evaluation.wording import plural


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes
    ----------
    name
        What is checked.
    of
        Of which comparison, model or method; empty for the whole run.
    value, limit
        What was found, and what it should be, in words or numbers.
    passed
        None where the check could not be made, or has nothing to check.
    detail
        What it means.
    """

    name: str
    of: str = ""
    value: str = ""
    limit: str = ""
    passed: bool | None = None
    detail: str = ""


def checks_of_audit(audit: Mapping[str, Any] | None) -> list[Check]:
    """Read the checks of an audit.

    Parameters
    ----------
    audit
        ``{"checks": [{"name": ..., "of": ..., "value": ..., "limit": ..., "passed": true, "detail": ...}, ...]}``, of
        which ``name`` and ``passed`` must be there; other keys are left to their readers.

    Raises
    ------
    InputError
        If it is not as described.
    """
    found = []
    items = (audit or {}).get("checks", [])
    if not isinstance(items, list):
        raise InputError("group/audit.json: checks is no list; run the audit again.")
    for item in items:
        if not isinstance(item, Mapping) or not {"name", "passed"} <= set(item):
            raise InputError("group/audit.json holds a check without name or passed; run the audit again.")
        if item["passed"] not in (True, False, None):
            raise InputError(f"group/audit.json: passed of {item['name']!r} is neither true, false nor null.")
        texts = {key: _text(item.get(key)) for key in ("name", "of", "value", "limit", "detail")}
        found.append(Check(**texts, passed=item["passed"]))
    return found


def checks_of_results(results: Results, judged: Mapping[str, Sequence[Judged]]) -> list[Check]:
    """Check what the tables themselves can show.

    Parameters
    ----------
    results
        All results.
    judged
        By comparison, from `judging.judge`.
    """
    failures = [str(one) for one in results.description.get("Failures", [])]
    checks = [
        Check(
            "Every part of the run is there",
            value=plural(len(failures), "part") + " missing",
            limit="none missing",
            passed=not failures and results.description["State"] == "complete",
            detail="The run has not ended." if results.description["State"] == "running" else _first(failures),
        )
    ]
    if results.document:
        problems = [one for unit in results.document.get("units", []) for one in unit.get("consistency", [])]
        checks.append(
            Check(
                "Scores fit together",
                value=plural(len(problems), "contradiction"),
                limit="none",
                passed=not problems,
                detail="No combination of accuracy, precision, recall, F1 and area that predictions cannot have."
                if not problems
                else problems[0],
            )
        )
    checks += [_folds(results, name) for name in results.comparisons]
    return checks + [_nuisance(results, name, items) for name, items in judged.items() if items]


def _folds(results: Results, comparison: str) -> Check:
    table = results.tables["classes.tsv"]
    rows = table if table.empty else table[(table["comparison"] == comparison) & (table["class"] != "all")]
    if rows.empty:
        return Check("Every class is in every test fold", of=results.title(comparison), detail="No table of classes.")
    least = min(int(count) for count in rows["smallest_test"])
    outside = results.description["CrossValidation"] == "leave-one-out"
    return Check(
        "Every class is in every test fold",
        of=results.title(comparison),
        value=f"{least} in the smallest",
        limit="at least 1",
        passed=None if outside else least > 0,
        detail="With leave-one-out a test fold is one person." if outside else "",
    )


def _nuisance(results: Results, comparison: str, judged: Sequence[Judged]) -> Check:
    """Check that the best result is more than what age, sex, site and motion give."""
    best, table = judged[0], results.tables["model_comparisons.tsv"]
    name, of = "The best result is more than nuisance variables give", f"{results.title(comparison)}: {best.cell.name}"
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
                name,
                of=of,
                value=f"{100 * difference:+.1f} points, p = {p:.2g}" if p == p else f"{100 * difference:+.1f} points",
                limit=f"more than 0, p under {ALPHA:g}",
                passed=difference > 0 and p < ALPHA,
                detail=str(row["test"]),
            )
    return Check(name, of=of, detail="The two were not compared.")


def _first(sentences: Sequence[str], count: int = 3) -> str:
    more = len(sentences) - count
    return " ".join(sentences[:count]) + (f" And {more} more." if more > 0 else "")


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
