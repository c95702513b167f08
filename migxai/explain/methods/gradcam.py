"""Grad-CAM: channels weighted by their mean gradient, ``sum_k mean_ij(G_kij) A_k``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migxai.explain.methods import CamMethod

if TYPE_CHECKING:
    from torch import Tensor


def combine(activations: Tensor, gradients: Tensor) -> Tensor:
    """Make maps (B, h, w); see `CamMethod.combine`."""
    import torch

    return torch.einsum("bk,bkhw->bhw", gradients.mean(dim=(2, 3)), activations)


def library() -> Any:
    """Return pytorch-grad-cam's class."""
    from pytorch_grad_cam import GradCAM

    return GradCAM


ENTRY = CamMethod(
    name="gradcam",
    title="Grad-CAM",
    citation="Selvaraju RR, Cogswell M, Das A, Vedantam R, Parikh D, Batra D. Grad-CAM: visual explanations from deep "
    "networks via gradient-based localization. ICCV 2017. doi:10.1109/ICCV.2017.74",
    order=10,
    combine=combine,
    library=library,
    signed=True,
)
