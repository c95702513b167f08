"""Several layers of the intact network looked at together, for finer maps; `migxai.explain.fusion` says how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migxai.explain.methods import CamMethod
from migxai.learning.backbones import NETWORKS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from migxai.learning.family import Split


def explain_network(*args: Any, **options: Any) -> NDArray[np.float32]:
    """Make maps of people; see `migxai.explain.fusion.fused_people`."""
    from migxai.explain.fusion import fused_people

    return fused_people(*args, **options)


def fits_network(split: Split) -> bool:
    """Say whether a network states layers of several sizes."""
    return bool(NETWORKS[split.network].fused_layers)


_networks = " and ".join(sorted(entry.title for entry in NETWORKS.values() if entry.fused_layers))

ENTRY = CamMethod(
    name="fused",
    title="fused layers",
    order=90,
    explain_network=explain_network,
    fits_network=fits_network,
    signed=True,
    note=f"{_networks}: finer, of several layers, in the first trial",
)
