"""Grad-CAM (Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74): channels weighted by their mean gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migxai.explain.methods.base import Method

if TYPE_CHECKING:
    from torch import Tensor


class GradCAM(Method):
    """``sum_k mean_ij(G_kij) A_k``."""

    name = "gradcam"
    signed = True

    def combine(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """Make maps (B, h, w); see `Method.combine`."""
        import torch

        return torch.einsum("bk,bkhw->bhw", gradients.mean(dim=(2, 3)), activations)

    def library(self) -> Any:
        """Return pytorch-grad-cam's class."""
        from pytorch_grad_cam import GradCAM as Library

        return Library


def method() -> Method:
    """Return the method."""
    return GradCAM()
