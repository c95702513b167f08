"""A worked example of a CAM method from outside: XGrad-CAM.

The package around it is this module and a pyproject with an entry point:

    [project]
    name = "migxai-xgradcam"
    version = "1.0"
    dependencies = ["migxai"]

    [project.entry-points."migxai.cams"]
    xgradcam = "xgradcam:ENTRY"

After ``pip install`` of it, ``migxai --cam xgradcam`` is there. `migxai.explain.methods.CamMethod` describes each
field. Nothing heavy is imported at the top: ``migxai --help`` loads this module too.
"""

from __future__ import annotations

from migxai.explain.methods import CamMethod


def combine(activations, gradients):
    """Weight each channel by its mean gradient, each place counting by its share of the activation: maps (B, h, w)."""
    total = activations.sum(dim=(2, 3), keepdim=True)
    share = activations / (total + 1e-7)
    weights = (gradients * share).sum(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1)


def library():
    """Return pytorch-grad-cam's class, for networks of which no features are stored."""
    from pytorch_grad_cam import XGradCAM

    return XGradCAM


ENTRY = CamMethod(
    name="xgradcam",
    title="XGrad-CAM",
    citation="Fu R, Hu Q, Dong X, Guo Y, Gao Y, Li B. Axiom-based Grad-CAM: towards accurate visualization and "
    "explanation of CNNs. BMVC 2020. arXiv:2008.02312",
    combine=combine,
    library=library,
    signed=True,
)
