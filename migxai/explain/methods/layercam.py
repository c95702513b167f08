"""LayerCAM (Jiang et al. 2021, doi:10.1109/TIP.2021.3089943): activations weighted by their positive gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migxai.explain.methods.base import Method

if TYPE_CHECKING:
    from torch import Tensor


class LayerCAM(Method):
    """``sum_k max(G_k, 0) A_k``."""

    name = "layercam"

    def combine(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """Make maps (B, h, w); see `Method.combine`."""
        return (activations * gradients.clamp(min=0)).sum(dim=1)

    def library(self) -> Any:
        """Return pytorch-grad-cam's class."""
        from pytorch_grad_cam import LayerCAM as Library

        return Library


def method() -> Method:
    """Return the method."""
    return LayerCAM()
