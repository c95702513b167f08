"""LayerCAM: activations weighted by their positive gradients, ``sum_k max(G_k, 0) A_k``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from migxai.explain.methods import CamMethod

if TYPE_CHECKING:
    from torch import Tensor


def combine(activations: Tensor, gradients: Tensor) -> Tensor:
    """Make maps (B, h, w); see `CamMethod.combine`."""
    return (activations * gradients.clamp(min=0)).sum(dim=1)


ENTRY = CamMethod(
    name="layercam",
    title="LayerCAM",
    citation="Jiang PT, Zhang CB, Hou Q, Cheng MM, Wei Y. LayerCAM: exploring hierarchical class activation maps for "
    "localization. IEEE Trans Image Process 2021;30:5875-5888. doi:10.1109/TIP.2021.3089943",
    order=20,
    combine=combine,
    library=lambda: import_module("pytorch_grad_cam").LayerCAM,
)
