"""Whether maps of a model that learned permuted labels are others, and tell nobody apart.

`migxai.audit.label_permutation` says how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migxai.audit.checks import Check, CheckEntry

if TYPE_CHECKING:
    from migxai.audit.audited_maps import AuditedMaps


def check(audited: AuditedMaps) -> list[Check]:
    """Train a few heads on permuted labels, and set their maps and their evidence against the true ones."""
    from migxai.audit import label_permutation

    return label_permutation.check(audited)


ENTRY = CheckEntry(
    name="label-permutation",
    title="Maps change, and say nothing of classes, when labels are permuted",
    citation="Adebayo J, Gilmer J, Muelly M, Goodfellow I, Hardt M, Kim B. Sanity checks for saliency maps. NeurIPS "
    "2018. arXiv:1810.03292",
    order=70,
    of_maps=check,
)
