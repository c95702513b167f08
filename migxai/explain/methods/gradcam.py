"""Grad-CAM: channels weighted by their mean gradient, ``sum_k mean_ij(G_kij) A_k``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from migxai.explain.methods import CamMethod

if TYPE_CHECKING:
    from torch import Tensor


def combine(activations: Tensor, gradients: Tensor) -> Tensor:
    """Make maps (B, h, w); see `CamMethod.combine`."""
    import torch

    return torch.einsum("bk,bkhw->bhw", gradients.mean(dim=(2, 3)), activations)


ENTRY = CamMethod(
    name="gradcam",
    title="Grad-CAM",
    citation="Selvaraju RR, Cogswell M, Das A, Vedantam R, Parikh D, Batra D. Grad-CAM: visual explanations from deep "
    "networks via gradient-based localization. ICCV 2017. doi:10.1109/ICCV.2017.74",
    order=10,
    combine=combine,
    library=lambda: import_module("pytorch_grad_cam").GradCAM,
    signed=True,
)
