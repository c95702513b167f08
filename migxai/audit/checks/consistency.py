"""Whether scores fit together: some combinations of accuracy, precision, recall and F1 no predictions can have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migxai.audit.checks import Check, CheckEntry

if TYPE_CHECKING:
    from migxai.evaluation.results import Results


def check(results: Results) -> list[Check]:
    """Count the contradictions that were noted beside the scores; nothing where there are no scores."""
    from migxai.evaluation.formatting import plural

    if not results.document:
        return []
    problems = [one for unit in results.document.get("units", []) for one in unit.get("consistency", [])]
    return [
        Check(
            "Scores fit together",
            value=plural(len(problems), "contradiction"),
            number=len(problems),
            limit="none",
            passed=not problems,
            detail=problems[0]
            if problems
            else "No combination of accuracy, precision, recall, F1 and area that predictions cannot have.",
        )
    ]


ENTRY = CheckEntry(name="consistency", title="Scores fit together", order=20, of_results=check)
