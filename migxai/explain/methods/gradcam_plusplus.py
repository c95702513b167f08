"""Grad-CAM++ (Chattopadhay et al. 2018, doi:10.1109/WACV.2018.00097): channels weighted by positive gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migxai.explain.methods.base import Method

if TYPE_CHECKING:
    from torch import Tensor

#: Keeps a channel without gradient out of a division by zero; as in pytorch-grad-cam.
_LEAST = 1e-6


class GradCAMPlusPlus(Method):
    """``sum_k sum_ij(alpha_kij max(G_kij, 0)) A_k``, ``alpha = G^2 / (2 G^2 + G^3 sum_ij A)`` (their equation 19)."""

    name = "gradcam++"

    def combine(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """Make maps (B, h, w); see `Method.combine`."""
        import torch

        squared = gradients**2
        total = activations.sum(dim=(2, 3), keepdim=True)
        alpha = squared / (2 * squared + total * squared * gradients + _LEAST)
        weights = (gradients.clamp(min=0) * alpha.where(gradients != 0, 0.0)).sum(dim=(2, 3))
        return torch.einsum("bk,bkhw->bhw", weights, activations)

    def library(self) -> Any:
        """Return pytorch-grad-cam's class."""
        from pytorch_grad_cam import GradCAMPlusPlus as Library

        return Library


def method() -> Method:
    """Return the method."""
    return GradCAMPlusPlus()
