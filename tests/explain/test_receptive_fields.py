"""Where the cells of maps lie: the packaged numbers against networks of which one patch of the picture was changed."""

import numpy as np
import pytest
import torch

from migxai.config import Learning
from migxai.explain.receptive_fields import Cells, find_cells, measure_cells
from migxai.learning.backbone import make_backbone
from migxai.learning.weights import synthetic_images


@pytest.mark.parametrize(
    ("name", "layer"), [("resnet18", "layer3"), ("resnet18", "layer4"), ("googlenet", "inception4e")]
)
def test_known_cells_are_where_a_change_is_noticed(name, layer):
    backbone = make_backbone(name, Learning(weights="random", precision="fp32"), seed=0)
    images = backbone.normalise(torch.from_numpy(synthetic_images(2)))
    measured = measure_cells(backbone.network.eval(), layer, images)
    known = find_cells(name, layer, 14)
    assert measured.step == known.step
    assert abs(measured.start - known.start) < 0.25 * known.step


def test_even_cells_interpolate_as_torch_does():
    values = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 1, 14, 14)).astype(np.float32))
    theirs = torch.nn.functional.interpolate(values, size=224, mode="bilinear", align_corners=False)[0, 0].numpy()
    weights = Cells.even(14).weights(np.arange(224), 14)
    np.testing.assert_allclose(weights @ values[0, 0].numpy() @ weights.T, theirs, atol=1e-5)


def test_weights_of_cells_add_up_to_one():
    weights = Cells(22, 32).weights(np.arange(224), 7)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    assert weights[22].argmax() == 0
    assert weights[22, 0] == 1.0
