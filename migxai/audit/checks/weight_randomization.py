"""Whether maps change when what the network has learned is replaced by random weights.

`migxai.audit.weight_randomization` says how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migxai.audit.checks import Check, CheckEntry

if TYPE_CHECKING:
    from migxai.audit.audited_maps import AuditedMaps


def check(audited: AuditedMaps) -> list[Check]:
    """Set maps against those of networks with the classifier, all trained layers, and all layers drawn anew."""
    from migxai.audit import weight_randomization

    return weight_randomization.check(audited)


ENTRY = CheckEntry(
    name="weight-randomization",
    title="Maps change when weights are random",
    citation="Adebayo J, Gilmer J, Muelly M, Goodfellow I, Hardt M, Kim B. Sanity checks for saliency maps. NeurIPS "
    "2018. arXiv:1810.03292",
    order=60,
    of_maps=check,
)
