"""HiResCAM: gradient times activation, place by place, ``sum_k G_k A_k``.

Behind a layer that is followed by ReLU, pooling and linear layers only, all its maps add up to the target but for what
biases contribute.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from migxai.explain.methods import CamMethod

if TYPE_CHECKING:
    from torch import Tensor


def combine(activations: Tensor, gradients: Tensor) -> Tensor:
    """Make maps (B, h, w); see `CamMethod.combine`."""
    return (activations * gradients).sum(dim=1)


ENTRY = CamMethod(
    name="hirescam",
    title="HiResCAM",
    citation="Draelos RL, Carin L. Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural "
    "networks. 2021. arXiv:2011.08891",
    order=30,
    combine=combine,
    library=lambda: import_module("pytorch_grad_cam").HiResCAM,
    signed=True,
)
