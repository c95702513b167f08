"""Maps of slices back in the brain: where a thing lies must not change, least of all its side.

Where maps look is compared with networks of which pixels were changed.
"""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from torch import nn

from migxai.config import Learning
from migxai.errors import InputError
from migxai.explain.explainers import explain, pooled_receptive_fields
from migxai.explain.methods import METHODS
from migxai.explain.targets import Target, watch
from migxai.explain.volumes import SIZE, ReceptiveFields, SliceSpace, fill_between, find_receptive_fields, to_planes
from migxai.learning.backbone import make_backbone
from migxai.learning.backbones import NETWORKS, find_family, find_split, make_head, pooled_layer
from migxai.learning.devices import single_thread
from migxai.learning.layers import measure_receptive_fields
from migxai.learning.slices import cut, from_pixels, plan_slices, to_pixels
from migxai.learning.weights import draw_network, synthetic_images

SHAPE = (20, 24, 18)


def affine_of(flips=(1, 1, 1)):
    affine = np.diag([*(3.0 * np.asarray(flips)), 1.0])
    affine[:3, 3] = [-30 * flips[0], -36 * flips[1], -27 * flips[2]]
    return affine


def brain_of():
    x, y, z = np.indices(SHAPE) - (np.array(SHAPE).reshape(3, 1, 1, 1) - 1) / 2
    return (x / 9) ** 2 + (y / 11) ** 2 + (z / 8) ** 2 < 1


def geometry_of(axis="axial", flips=(1, 1, 1), count=6):
    return plan_slices(SHAPE, affine_of(flips), brain_of(), axis=axis, count=count)


@settings(max_examples=12, deadline=None)
@given(
    axis=st.sampled_from(["axial", "coronal", "sagittal"]),
    flips=st.tuples(*[st.sampled_from([1, -1])] * 3),
    count=st.integers(1, 8),
)
def test_a_checkerboard_goes_to_pixels_and_comes_back_exactly(axis, flips, count):
    geometry = geometry_of(axis, flips, count)
    board = (np.indices(SHAPE).sum(axis=0) % 2).astype(np.float32)
    planes = cut(board, geometry)
    assert np.array_equal(from_pixels(to_pixels(planes, geometry), geometry), planes)
    space = SliceSpace(geometry, brain_of())
    row = np.empty(space.inside.sum(), dtype=np.float32)
    row[:] = board[space.inside]
    assert np.array_equal(space.volume(row)[space.inside], board[space.inside])


@pytest.mark.parametrize("axis", ["axial", "coronal"])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1)])
def test_left_stays_left(axis, flips):
    """A map that is hot where a picture shows a left-sided blob is hot on the left of the volume, and only there."""
    affine, geometry = affine_of(flips), geometry_of(axis, flips)
    xs = affine[0, 0] * np.arange(SHAPE[0]) + affine[0, 3]
    blob = np.broadcast_to((xs < -10)[:, None, None], SHAPE).astype(np.float32)
    pictures = to_pixels(cut(blob, geometry), geometry)
    # ReceptiveFields that see the pictures as patches of 16 pixels.
    maps = pictures.reshape(len(pictures), 14, 16, 14, 16).mean(axis=(2, 4))
    space = SliceSpace(geometry, brain_of())
    volume = space.volume(space.rows(maps, ReceptiveFields.even(14)), fill=0.0)
    left, right = volume[xs < -12].sum(), volume[xs > 0].sum()
    assert left > 0
    assert right < 0.02 * left


def test_planes_are_what_drawing_the_whole_picture_would_give():
    rng, geometry = np.random.default_rng(0), geometry_of()
    maps = rng.standard_normal((len(geometry.indices), 7, 7)).astype(np.float32)
    cells = ReceptiveFields(start=22, step=32)
    along = cells.weights(np.arange(SIZE), 7)
    drawn = from_pixels(along @ maps @ along.T, geometry)
    np.testing.assert_allclose(to_planes(maps, cells, geometry), drawn, atol=1e-5)


def test_planes_between_slices_are_filled_linearly():
    geometry = geometry_of(count=3)
    low, high = geometry.indices[:2]
    volume = np.full(SHAPE, np.nan)
    volume[..., low], volume[..., high], volume[..., geometry.indices[2]] = 1.0, 3.0, 5.0
    filled = fill_between(volume, geometry)
    expected = 1.0 + 2.0 * (np.arange(low, high + 1) - low) / (high - low)
    np.testing.assert_allclose(filled[3, 4, low : high + 1], expected)
    assert np.isnan(filled[..., : min(geometry.indices)]).all(), "nothing is made up below the first slice"


def test_a_mask_that_slices_do_not_show_is_refused():
    nothing = np.zeros(SHAPE, dtype=bool)
    with pytest.raises(InputError, match="show nothing of the brain's mask"):
        SliceSpace(geometry_of(), nothing)


ROWS, WIDE = 32, 512


def mirrored(network):
    """Copy a network with its kernels from right to left: what one's weights lean to, the other's lean away from."""
    made = copy.deepcopy(network)
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.flip(-1)
    return made


def perturbed_centre(network, layer, step, generator):
    """Centre of what a value of a layer's maps notices when a column of pixels is changed.

    Values that lie a whole number of steps further notice columns as far away alike, so changing one step's columns in
    a wide picture says what one value notices of all columns.
    """
    images = torch.rand((1, 3, ROWS, WIDE), generator=generator)
    middle = WIDE // 2 // step * step
    with torch.inference_mode(), single_thread(), watch(network, [layer]) as seen:
        network(images)
        before = seen[layer]
        noticed = []
        for column in range(middle, middle + step):
            changed = images.clone()
            changed[..., column] += torch.randn((3, ROWS), generator=generator)
            network(changed)
            noticed.append((seen[layer] - before).square().sum(dim=(0, 1, 2)).double().numpy())
    energy = np.array(noticed)
    columns = np.arange(middle, middle + step)[:, None] - step * np.arange(energy.shape[1])[None, :]
    return float((energy * columns).sum() / energy.sum())


@pytest.mark.parametrize(
    ("name", "layer"),
    [("resnet18", "layer4"), ("timm:resnet18", "layer4"), ("timm:mobilenetv3_small_100", "blocks")],
)
def test_maps_look_where_changed_pixels_are_noticed(name, layer):
    split = find_split(name, "linear")
    assert layer.startswith(pooled_layer(split)) or pooled_layer(split).startswith(layer)
    used = find_receptive_fields(split, layer, 7)
    generator = torch.Generator().manual_seed(0)
    found = []
    for seed in range(3):
        network = draw_network(find_family(name), seed)
        found += [perturbed_centre(each, layer, int(used.step), generator) for each in (network, mirrored(network))]
    assert abs(np.mean(found) - used.start) < 0.5


@pytest.mark.parametrize(
    ("name", "layer", "start"),
    [("resnet18", "layer3", 0), ("googlenet", "inception4e", 14), ("googlenet", "inception5b", 22)],
)
def test_what_entries_state_is_what_is_measured(name, layer, start):
    assert NETWORKS[name].stated_fields(layer)[0] == start
    measured, step = measure_receptive_fields(find_family(name).network(2), layer)
    assert (measured, step) == NETWORKS[name].stated_fields(layer)


@pytest.mark.parametrize(
    ("name", "layer", "fields"),
    [
        # TensorFlow's padding is uneven: each of five halvings shifts by a pixel of its own.
        ("timm:tf_efficientnet_lite0", "bn2", (31, 32)),
        ("timm:convnext_atto", "norm_pre", (15.5, 32)),
        ("timm:swin_tiny_patch4_window7_224", "norm", (15.5, 32)),
        ("timm:deit3_small_patch16_224", "blocks.11.norm1", (7.5, 16)),
    ],
)
def test_layers_are_found_and_measured_where_nothing_is_stated(name, layer, fields):
    split = find_split(name, "linear")
    assert pooled_layer(split) == layer
    assert find_receptive_fields(split, layer, 7) == ReceptiveFields(*fields)


def test_a_peak_lies_at_the_blob_that_was_learned():
    """A linear head on timm's ResNet18 that tells pictures with a blob on their left from others."""
    backbone = make_backbone("timm:resnet18", Learning(weights="random", precision="fp32", unfreeze="linear"), seed=0)
    places = np.arange(224)
    generator = np.random.default_rng(0)
    blob = np.exp(-(((places - 112) / 12) ** 2))[:, None] * np.exp(-(((places - 48) / 12) ** 2))[None, :]
    noise = synthetic_images(16)[:, 0] * 0.2 + generator.random((16, 224, 224)) * 0.1
    pictures = np.concatenate([noise, noise + 0.7 * blob])[:, None].astype(np.float32)
    features = backbone.features(torch.from_numpy(pictures), clean=True)
    pooled = features["pooled"].double().numpy()
    labels = np.repeat([0, 1], 16)
    learned = LogisticRegression(C=100, max_iter=2000).fit((pooled - pooled.mean(0)) / pooled.std(0), labels)
    head = make_head(backbone.split, 2, torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        weight = torch.from_numpy(learned.coef_[0] / pooled.std(0)).float()
        head.classifier.weight.copy_(torch.stack([-weight, weight]))
    maps = explain(head, features, backbone.split, METHODS["gradcam"], Target(of=1, margin=True)).numpy()
    told = (maps[16:] - maps[:16]).mean(axis=0)
    along = pooled_receptive_fields(backbone.split, told.shape[-1]).weights(np.arange(224), told.shape[-1])
    drawn = along @ told @ along.T
    peak = np.unravel_index(drawn.argmax(), drawn.shape)
    assert np.abs(np.subtract(peak, (112, 48))).max() <= 16


def test_even_cells_interpolate_as_torch_does():
    values = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 1, 14, 14)).astype(np.float32))
    theirs = torch.nn.functional.interpolate(values, size=224, mode="bilinear", align_corners=False)[0, 0].numpy()
    weights = ReceptiveFields.even(14).weights(np.arange(224), 14)
    np.testing.assert_allclose(weights @ values[0, 0].numpy() @ weights.T, theirs, atol=1e-5)


def test_weights_of_cells_add_up_to_one():
    weights = ReceptiveFields(22, 32).weights(np.arange(224), 7)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    assert weights[22].argmax() == 0
    assert weights[22, 0] == 1.0
