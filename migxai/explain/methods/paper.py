"""The paper's maps: absolute values of the gradient-weighted maps, summed, ``sum_k |mean_ij(G_kij) A_k|``.

As they add up what speaks for a class and what speaks against it, maps of two classes look nearly alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migxai.explain.methods import CamMethod

if TYPE_CHECKING:
    from torch import Tensor


def combine(activations: Tensor, gradients: Tensor) -> Tensor:
    """Make maps (B, h, w); see `CamMethod.combine`."""
    import torch

    return torch.einsum("bk,bkhw->bhw", gradients.mean(dim=(2, 3)).abs(), activations.abs())


def library() -> Any:
    """Derive a class from pytorch-grad-cam's Grad-CAM."""
    import numpy as np
    from pytorch_grad_cam import GradCAM

    class Absolute(GradCAM):  # type: ignore[misc]
        def get_cam_image(
            self,
            input_tensor: Any,
            target_layer: Any,
            targets: Any,
            activations: Any,
            grads: Any,
            eigen_smooth: bool = False,  # noqa: ARG002
        ) -> Any:
            weights = self.get_cam_weights(input_tensor, target_layer, targets, activations, grads)
            return np.abs(weights[:, :, None, None] * activations).sum(axis=1)

    return Absolute


ENTRY = CamMethod(
    name="paper",
    title="the paper's map (sum of absolute values)",
    citation="Li G, Yang H, He L, Zeng G. Interpretable artificial intelligence analysis of functional magnetic "
    "resonance imaging for migraine classification. JMIR Med Inform 2025;13:e72155. doi:10.2196/72155",
    order=60,
    combine=combine,
    library=library,
    note="sums absolute values",
)
