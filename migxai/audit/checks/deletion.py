"""Whether the network uses what maps point at: deletion and insertion curves.

`migxai.audit.deletion` says how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migxai.audit.checks import Check, CheckEntry

if TYPE_CHECKING:
    from migxai.audit.audited_maps import AuditedMaps


def check(audited: AuditedMaps) -> list[Check]:
    """Delete and insert by maps, at random and by edges, and compare over people."""
    from migxai.audit import deletion

    return deletion.check(audited)


ENTRY = CheckEntry(
    name="deletion",
    title="The network uses what maps point at",
    citation="Petsiuk V, Das A, Saenko K. RISE: randomized input sampling for explanation of black-box models. BMVC "
    "2018. arXiv:1806.07421",
    order=90,
    of_maps=check,
)
