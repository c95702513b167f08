"""The paper's maps (Li et al. 2025, doi:10.2196/72155): absolute values of the gradient-weighted maps, summed.

As they add up what speaks for a class and what speaks against it, maps of two classes look nearly alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migxai.explain.methods.base import Method

if TYPE_CHECKING:
    from torch import Tensor


class Paper(Method):
    """``sum_k |mean_ij(G_kij) A_k|``."""

    name = "paper"

    def combine(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """Make maps (B, h, w); see `Method.combine`."""
        import torch

        return torch.einsum("bk,bkhw->bhw", gradients.mean(dim=(2, 3)).abs(), activations.abs())

    def library(self) -> Any:
        """Derive a class from pytorch-grad-cam's Grad-CAM."""
        import numpy as np
        from pytorch_grad_cam import GradCAM as Library

        class Absolute(Library):  # type: ignore[misc]
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


def method() -> Method:
    """Return the method."""
    return Paper()
