"""A CAM method from outside, from ``--help`` to maps, table of regions and methods text."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import torch

from migxai.explain.methods import METHODS
from tests.e2e.group_runs import copy_maps, read_table
from tests.extending import xgradcam
from tests.map_fixtures import map_cohort

__all__ = ["map_cohort"]

QUICK = ("--indicators", "reho", "--comparison", "hc_vs_migraine", "--slices", 2, "--folds", 2, "--trials", 1)
NETWORK = ("--models", "resnet18", "--weights", "random", "--augmentations", 0, "--epochs", 1, "--bootstraps", 20)


def test_a_cam_method_from_help_to_report(install, migxai, map_cohort, tmp_path):
    install("migxai.cams", "xgradcam", "xgradcam")
    told = " ".join(migxai("--help").out.split())
    assert "in the first trial), xgradcam; for transformers also attention and rollout" in told

    data, output = copy_maps(map_cohort, tmp_path / "maps"), tmp_path / "out"
    methods = ("--cam", "xgradcam", "gradcam", "--no-sanity-checks", "--save-models", "none")
    done = migxai(data, output, "group", *QUICK, *NETWORK, *methods)
    assert done.code == 0, done.err
    explained = output / "group" / "explain"
    made = [json.loads(path.read_text()) for path in explained.glob("*_desc-xgradcam_boldmap.json")]
    assert {one["Kind"] for one in made} >= {"difference"}
    assert {(one["Method"], one["Extension"]) for one in made} == {("XGrad-CAM", "migxai-xgradcam 1.0")}
    assert not [path for path in explained.glob("*_desc-gradcam_*.json") if "Extension" in json.loads(path.read_text())]
    (difference,) = (
        path for path in explained.glob("*Minus*_desc-xgradcam_boldmap.nii.gz") if "Agreement" not in path.name
    )
    assert np.any(nib.load(difference).get_fdata())
    assert {"XGrad-CAM", "Grad-CAM"} <= set(read_table(output / "group" / "regions.tsv")["method"])

    report = (output / "group" / "report.html").read_text()
    assert "mapped by Grad-CAM (Selvaraju et al., 2017) and XGrad-CAM (Fu et al., 2020)" in report
    assert "Axiom-based Grad-CAM" in report


def test_it_is_what_pytorch_grad_cam_computes():
    """Where gradients are the same everywhere, as in front of a mean, it is Grad-CAM; elsewhere it is the library's."""
    activations = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    flat = torch.tensor([0.5, -1.0, 2.0]).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    torch.testing.assert_close(xgradcam.combine(activations, flat), METHODS["gradcam"].combine(activations, flat))
    gradients = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    weights = xgradcam.library().get_cam_weights(None, None, None, None, activations.numpy(), gradients.numpy())
    wanted = np.einsum("bk,bkhw->bhw", weights, activations.numpy())
    np.testing.assert_allclose(xgradcam.combine(activations, gradients).numpy(), wanted, rtol=1e-4, atol=1e-5)
