"""Eigen-CAM: activations projected on the first principal component of their channels.

It looks at activations alone: it says what the network sees, not what speaks for a class. The component's sign is
arbitrary, as in the library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from migxai.explain.methods import CamMethod

if TYPE_CHECKING:
    from torch import Tensor


def combine(activations: Tensor, gradients: Tensor) -> Tensor:  # noqa: ARG001
    """Make maps (B, h, w); see `CamMethod.combine`."""
    import torch
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

    return torch.from_numpy(get_2d_projection(activations.detach().numpy()))


ENTRY = CamMethod(
    name="eigencam",
    title="Eigen-CAM",
    citation="Muhammad MB, Yeasin M. Eigen-CAM: class activation map using principal components. IJCNN 2020. "
    "doi:10.1109/IJCNN48605.2020.9206626",
    order=50,
    combine=combine,
    library=lambda: import_module("pytorch_grad_cam").EigenCAM,
    by_class=False,
    signed=True,
)
