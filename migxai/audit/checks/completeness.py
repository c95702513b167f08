"""Whether every part of the run is there: scores of the parts that did not fail may be a favourable choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migxai.audit.checks import Check, CheckEntry

if TYPE_CHECKING:
    from migxai.evaluation.results import Results

#: Failures that are told in full.
_TOLD = 3


def check(results: Results) -> list[Check]:
    """Count what failed."""
    from migxai.evaluation.formatting import plural

    failures = [str(one) for one in results.description.get("Failures", [])]
    more = len(failures) - _TOLD
    told = " ".join(failures[:_TOLD]) + (f" And {more} more." if more > 0 else "")
    return [
        Check(
            "Every part of the run is there",
            value=plural(len(failures), "part") + " missing",
            number=len(failures),
            limit="none missing",
            passed=not failures and results.description["State"] == "complete",
            detail="The run has not ended." if results.description["State"] == "running" else told,
        )
    ]


ENTRY = CheckEntry(name="completeness", title="Every part of the run is there", order=10, of_results=check)
