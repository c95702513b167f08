"""Eigen-CAM (Muhammad & Yeasin 2020, doi:10.1109/IJCNN48605.2020.9206626): the maps' first principal component.

It looks at activations alone: it says what the network sees, not what speaks for a class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migxai.explain.methods.base import Method

if TYPE_CHECKING:
    from torch import Tensor


class EigenCAM(Method):
    """Activations projected on the channels' first principal component, whose sign is arbitrary as in the library."""

    name = "eigencam"
    by_class = False
    signed = True

    def combine(self, activations: Tensor, gradients: Tensor) -> Tensor:  # noqa: ARG002
        """Make maps (B, h, w); see `Method.combine`."""
        import torch
        from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

        return torch.from_numpy(get_2d_projection(activations.detach().numpy()))

    def library(self) -> Any:
        """Return pytorch-grad-cam's class."""
        from pytorch_grad_cam import EigenCAM as Library

        return Library


def method() -> Method:
    """Return the method."""
    return EigenCAM()
