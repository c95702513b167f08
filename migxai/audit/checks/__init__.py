"""The checks that a result must pass: each is an entry in a file of its own, here or in another package.

Some look at the maps of one network, some at the results of a whole run. A check says beforehand, in `Check.limit`,
what it should find.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from migxai.registry import Entry, Registry

if TYPE_CHECKING:
    from migxai.audit.audited_maps import AuditedMaps
    from migxai.evaluation.results import Results


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes
    ----------
    name
        What is checked.
    of
        What it is checked of: comparison, indicator, model or method; empty for the whole run.
    value
        What was found, in words.
    number
        The same as a number; NaN where there is none.
    limit
        What it should be; fixed before anything was measured.
    passed
        None where the check could not be made, or is shown only.
    detail
        What it means, and what was left out.
    extension
        Name and version of the package that brought the check; empty for migxai's own.
    """

    name: str
    of: str = ""
    value: str = ""
    number: float = math.nan
    limit: str = ""
    passed: bool | None = None
    detail: str = ""
    extension: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        found = asdict(self) | {"number": self.number if math.isfinite(self.number) else None}
        return {key: value for key, value in found.items() if key != "extension" or value}


@dataclass(frozen=True, kw_only=True)
class CheckEntry(Entry):
    """A check: one of `of_maps` and `of_results` says how it is made, and thereby what it looks at.

    Attributes
    ----------
    of_maps
        Checks the maps of one network, indicator and comparison.
    of_results
        Checks the results of a run, as they lie in its group folder.
    """

    of_maps: Callable[[AuditedMaps], list[Check]] | None = None
    of_results: Callable[[Results], list[Check]] | None = None


CHECKS: Registry[CheckEntry] = Registry("check", CheckEntry, package=__name__, group="checks")
