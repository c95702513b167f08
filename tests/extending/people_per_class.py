"""A worked example of a check from outside: whether each class has at least twenty people.

The package around it is this module and a pyproject with an entry point:

    [project]
    name = "migxai-people-per-class"
    version = "1.0"
    dependencies = ["migxai"]

    [project.entry-points."migxai.checks"]
    people-per-class = "people_per_class:ENTRY"

After ``pip install`` of it, what it finds stands in ``group/audit.json`` and in the report, and ``--strict`` heeds it.
This one looks at the results of a run; one of maps is given as ``of_maps`` and looks at each network's
`migxai.audit.audited_maps.AuditedMaps`. `migxai.audit.checks` describes each field.
"""

from __future__ import annotations

from migxai.audit.checks import Check, CheckEntry

LEAST = 20


def check(results):
    """Count the people of each comparison's smallest class."""
    found = []
    for comparison in results.comparisons:
        counts = results.class_counts(comparison)
        smallest = min(counts, key=counts.get)
        found.append(
            Check(
                "Every class has enough people",
                of=results.title(comparison),
                value=f"{counts[smallest]} of {smallest}",
                number=counts[smallest],
                limit=f"at least {LEAST}",
                passed=counts[smallest] >= LEAST,
                detail="Scores of fewer people have intervals too wide to say anything.",
            )
        )
    return found


ENTRY = CheckEntry(name="people-per-class", title="Every class has enough people", of_results=check)
