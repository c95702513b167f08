"""HiResCAM (Draelos & Carin 2021, arXiv:2011.08891): gradient times activation, place by place.

Behind a layer that is followed by ReLU, pooling and linear layers only, all its maps add up to the target but for what
biases contribute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migxai.explain.methods.base import Method

if TYPE_CHECKING:
    from torch import Tensor


class HiResCAM(Method):
    """``sum_k G_k A_k``."""

    name = "hirescam"
    signed = True

    def combine(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """Make maps (B, h, w); see `Method.combine`."""
        return (activations * gradients).sum(dim=1)

    def library(self) -> Any:
        """Return pytorch-grad-cam's class."""
        from pytorch_grad_cam import HiResCAM as Library

        return Library


def method() -> Method:
    """Return the method."""
    return HiResCAM()
