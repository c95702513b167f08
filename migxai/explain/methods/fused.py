"""Several layers of the intact network looked at together, for finer maps; `migxai.explain.fusion` says how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migxai.explain.methods import CamMethod

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from migxai.learning.backbones.base import Split

#: Layers that are fused, the finest first: cells of 4 (56 x 56), 8, 16 and 32 pixels. A picture's pixel is 1 mm on the
#: usual grids; two places 10 mm apart are seen as two only by cells of 5 mm or less.
FUSED_LAYERS: dict[str, tuple[str, ...]] = {
    "googlenet": ("conv3", "inception3b", "inception4e", "inception5b"),
    "resnet18": ("layer1", "layer2", "layer3", "layer4"),
}


def explain_network(*args: Any, **options: Any) -> NDArray[np.float32]:
    """Make maps of people; see `migxai.explain.fusion.fused_people`."""
    from migxai.explain.fusion import fused_people

    return fused_people(*args, **options)


def fits_network(split: Split) -> bool:
    """Say whether a network has layers of several sizes that are known."""
    return split.network in FUSED_LAYERS


ENTRY = CamMethod(
    name="fused",
    title="fused layers",
    order=90,
    explain_network=explain_network,
    fits_network=fits_network,
    signed=True,
    note="GoogLeNet and ResNet18: finer, of several layers, in the first trial",
)
