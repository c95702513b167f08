"""People explained by running the intact network through pytorch-grad-cam, as networks without a closed form are."""

import numpy as np
import pytest
import torch

from migxai.explain.explainers import explain_people, explain_people_by_network
from migxai.explain.methods import METHODS
from migxai.explain.volumes import SliceSpace
from migxai.learning.backbones import make_head
from tests.learning.networks import GRID, backbone, geometry, planes, settings, write_store


@pytest.fixture(scope="module")
def space():
    brain = np.zeros(GRID, dtype=bool)
    brain[2:-2, 2:-2, 2:-2] = True
    return SliceSpace(geometry(), brain)


def explained(name, method, space, rows=(0, 2), classes=2):
    made = backbone(name, "linear")
    head = make_head(made.split, classes, torch.Generator().manual_seed(0)).eval()
    people = {"rows": np.array(rows), "trained": np.array([1])}
    maps = explain_people_by_network(made, head, planes(3), space, method=method, n_classes=classes, **people)
    return maps, head


@pytest.mark.parametrize("name", ["timm:mobilenetv3_small_100", "timm:swin_tiny_patch4_window7_224"])
def test_networks_of_timm_without_a_closed_form_are_explained(name, space):
    split = backbone(name, "linear").split
    assert METHODS["gradcam"].fits(split)
    assert not METHODS["gradcam"].reads_store(split)
    assert not METHODS["attention"].fits(split)
    maps, _ = explained(name, "gradcam", space)
    assert maps.shape == (2, 2, space.inside.sum())
    assert np.isfinite(maps).all()
    assert (maps > 0).any()
    np.testing.assert_array_equal(maps[:, 0], -maps[:, 1])
    assert np.abs(maps[0] - maps[1]).max() > 0


def test_methods_that_know_no_classes_make_one_map(space):
    maps, _ = explained("timm:mobilenetv3_small_100", "eigencam", space, rows=(1,), classes=3)
    assert maps.shape == (1, 1, space.inside.sum())


def test_it_makes_what_the_closed_form_makes(space, tmp_path):
    name, rows = "timm:resnet18", np.array([0, 2])
    options = settings(unfreeze="linear", augmentations=0)
    store, _ = write_store(tmp_path, name, options, 3)
    made = backbone(name, "linear")
    assert store.split.receptive_fields == {"layer4": (0, 32)}
    head = make_head(made.split, 3, torch.Generator().manual_seed(0)).eval()
    assert METHODS["gradcam"].reads_store(made.split)
    theirs = explain_people_by_network(
        made, head, planes(3), space, method="gradcam", rows=rows, trained=np.array([1]), n_classes=3
    )
    ours = explain_people(head, store, rows, "gradcam", space, 3)
    # The store holds 16 bits.
    np.testing.assert_allclose(ours, theirs, atol=2e-3 * np.abs(theirs).max())
