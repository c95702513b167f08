"""Whether there are maps at all: one that is zero throughout shows nothing, and is not counted elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migxai.audit.checks import Check, CheckEntry

if TYPE_CHECKING:
    from migxai.audit.audited_maps import AuditedMaps

#: Maps must hold anything for more than this share of people; else a mean over people is one of a minority.
LEAST_SHARE = 0.5


def check(audited: AuditedMaps) -> list[Check]:
    """Count the people of the first trial whose maps are not the same everywhere."""
    import numpy as np

    saliency = audited.trials[0]
    held = int((np.ptp(saliency.maps, axis=2) > 0).any(axis=1).sum())
    share = held / len(saliency.maps)
    return [
        Check(
            "Maps show anything",
            audited.of,
            value=f"{held} of {len(saliency.maps)} people",
            number=share,
            limit=f"more than {LEAST_SHARE:.0%} of people",
            passed=share > LEAST_SHARE,
            detail="Maps of the others are the same everywhere, and are left out below."
            if held < len(saliency.maps)
            else "",
        )
    ]


ENTRY = CheckEntry(name="presence", title="Maps show anything", order=50, of_maps=check)
