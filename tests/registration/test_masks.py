from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from migxai.errors import DenoisingError, ImageError
from migxai.registration.masks import brain_mask_in_target, epi_brain_mask, template_grid, tissue_compartment
from migxai.registration.quality import dice
from migxai.registration.space import Volume


def test_template_grid_keeps_the_corner():
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -96, -132, -78
    grid, shape = template_grid(affine, (97, 115, 97), 3.0)
    assert shape == (65, 77, 65)
    assert np.array_equal(grid[:3, 3], affine[:3, 3])
    assert np.array_equal(np.diag(grid), [3, 3, 3, 1])
    assert template_grid(affine, (97, 115, 97), 2.0)[1] == (97, 115, 97)


def test_epi_mask_finds_the_brain_under_a_coil_field(bench):
    affine = np.diag([3.75, 3.75, 5.0, 1.0])
    affine[:3, 3] = -118, -118, -80
    image, fine, brain = bench.head((64, 64, 33), affine)
    grid = np.linalg.inv(fine) @ affine
    args = {"matrix": grid[:3, :3], "offset": grid[:3, 3], "output_shape": (64, 64, 33), "order": 1}
    epi, truth = ndimage.affine_transform(image, **args), ndimage.affine_transform(brain.astype(float), **args) > 0.5
    epi = epi + np.random.default_rng(0).normal(0, 10, epi.shape)
    assert dice(epi_brain_mask(Volume(epi, affine)).data, truth) > 0.9


def test_noise_holds_no_brain():
    with pytest.raises(ImageError, match="litres"):
        epi_brain_mask(Volume(np.random.default_rng(0).random((20, 20, 20)), np.eye(4)))


def test_tissue_compartment_and_its_refusal():
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    prior = np.zeros((40, 40, 40), dtype=np.float32)
    prior[10:30, 10:30, 10:30] = 1.0
    tissue = Volume(prior, affine)
    target, shape = template_grid(affine, (40, 40, 40), 3.0)
    mask = brain_mask_in_target(tissue, target, shape)
    chosen = tissue_compartment(tissue, mask, target, name="white matter")
    assert chosen.shape == (mask.sum(),)
    assert 20 < chosen.sum() < mask.sum()
    with pytest.raises(DenoisingError, match="white matter"):
        tissue_compartment(tissue, mask, target, name="white matter", erosion=18.0)
