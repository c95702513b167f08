"""Grad-CAM++: channels weighted by their positive gradients, each place by how far it matters to the class."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from migxai.explain.methods import CamMethod

if TYPE_CHECKING:
    from torch import Tensor

#: Keeps a channel without gradient out of a division by zero; as in pytorch-grad-cam.
_LEAST = 1e-6


def combine(activations: Tensor, gradients: Tensor) -> Tensor:
    """Make maps (B, h, w); see `CamMethod.combine`.

    ``sum_k sum_ij(alpha_kij max(G_kij, 0)) A_k``, ``alpha = G^2 / (2 G^2 + G^3 sum_ij A)`` (their equation 19).
    """
    import torch

    squared = gradients**2
    total = activations.sum(dim=(2, 3), keepdim=True)
    alpha = squared / (2 * squared + total * squared * gradients + _LEAST)
    weights = (gradients.clamp(min=0) * alpha.where(gradients != 0, 0.0)).sum(dim=(2, 3))
    return torch.einsum("bk,bkhw->bhw", weights, activations)


ENTRY = CamMethod(
    name="gradcam++",
    title="Grad-CAM++",
    citation="Chattopadhay A, Sarkar A, Howlader P, Balasubramanian VN. Grad-CAM++: generalized gradient-based visual "
    "explanations for deep convolutional networks. WACV 2018. doi:10.1109/WACV.2018.00097",
    order=40,
    combine=combine,
    library=lambda: import_module("pytorch_grad_cam").GradCAMPlusPlus,
)
