"""Whether models that learned from other people, or from other starts, set classes apart in the same places.

`migxai.audit.reproducibility` says how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migxai.audit.checks import Check, CheckEntry

if TYPE_CHECKING:
    from migxai.audit.audited_maps import AuditedMaps


def check(audited: AuditedMaps) -> list[Check]:
    """Correlate differences between classes over folds and over trials."""
    from migxai.audit import reproducibility

    return reproducibility.check(audited)


ENTRY = CheckEntry(
    name="reproducibility", title="Folds and trials agree on where classes differ", order=80, of_maps=check
)
