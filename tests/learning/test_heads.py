from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from migxai.errors import InputError
from migxai.learning.backbones import find_split, make_head
from migxai.learning.heads import LinearHead, SmallMapConv2d, draw_weights, fourier_convolution, from_arrays, to_arrays

NETWORKS = ["googlenet", "resnet18", "timm:vit_tiny_patch16_224"]


def new_head(name: str = "resnet18", cut: str = "last-conv", classes: int = 2, seed: int = 0) -> nn.Module:
    return make_head(find_split(name, cut), classes, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NETWORKS)
def test_arrays_are_all_of_a_head_but_its_counters(name):
    head, other = new_head(name), new_head(name, seed=1)
    arrays = to_arrays(head)
    assert not any(key.endswith("num_batches_tracked") for key in arrays)
    from_arrays(other, arrays)
    for key, tensor in other.state_dict().items():
        assert torch.equal(tensor, head.state_dict()[key])
    kept = arrays["classifier.weight"].copy()
    with torch.no_grad():
        head.classifier.weight.zero_()
        other.classifier.weight.zero_()
    np.testing.assert_array_equal(arrays["classifier.weight"], kept)


@pytest.mark.parametrize("change", [{"classes": 3}, {"cut": "linear"}, {"name": "googlenet"}])
def test_arrays_of_another_head_are_refused(change):
    with pytest.raises(InputError, match="another network, split or number of classes"):
        from_arrays(new_head(), to_arrays(new_head(**change)))


def test_a_missing_array_is_refused():
    arrays = to_arrays(new_head())
    del arrays["norm.weight"]
    with pytest.raises(InputError):
        from_arrays(new_head(), arrays)


def test_a_convolution_starts_with_a_variance_of_2_over_fan_in():
    layer = nn.Conv2d(128, 256, 3)
    draw_weights(layer, torch.Generator().manual_seed(0))
    assert float(layer.weight.detach().var() * 128 * 9) == pytest.approx(2.0, abs=0.02)
    assert not layer.bias.any()


def test_a_linear_layer_starts_with_a_truncated_normal():
    layer = nn.Linear(400, 300)
    draw_weights(layer, torch.Generator().manual_seed(0))
    # Cut at two SD, a normal's SD is 0.8796 of what it was (Johnson, Kotz & Balakrishnan 1994).
    assert float(layer.weight.detach().std() * math.sqrt(400)) == pytest.approx(0.8796, abs=0.01)
    assert float(layer.weight.detach().abs().max() * math.sqrt(400)) <= 2.0
    assert not layer.bias.any()


@pytest.mark.parametrize("name", NETWORKS)
def test_classes_start_about_equally_likely(name):
    head = new_head(name, classes=3).eval()
    features = {
        key: torch.randn(8, *shape, generator=torch.Generator().manual_seed(2))
        for key, shape in find_split(name, "last-conv").features.items()
    }
    with torch.inference_mode():
        probabilities = head(features).softmax(dim=1)
    assert float((probabilities - 1 / 3).abs().max()) < 0.15


def test_dropout_acts_on_what_the_classifier_reads():
    head = LinearHead(4, 2)
    features = {"pooled": torch.arange(8.0).reshape(2, 4)}
    keep = torch.tensor([[0.0, 2.0, 0.0, 2.0], [2.0, 0.0, 0.0, 0.0]])
    expected = nn.functional.linear(features["pooled"] * keep, head.classifier.weight, head.classifier.bias)
    assert torch.equal(head(features, keep), expected)


def test_without_maps_there_is_no_closed_form():
    with pytest.raises(InputError, match="does not read the mean of maps"):
        LinearHead(4, 2).maps({"pooled": torch.zeros(1, 4)})


sizes = st.integers(1, 9)


@settings(deadline=None)
@given(height=sizes, width=sizes, channels_in=st.integers(1, 4), channels_out=st.sampled_from([1, 31, 32, 33, 70]))
def test_equals_the_librarys_convolution(height: int, width: int, channels_in: int, channels_out: int) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, channels_in, height, width, generator=generator, dtype=torch.float64)
    weight = torch.randn(channels_out, channels_in, 3, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(fourier_convolution(maps, weight), functional.conv2d(maps, weight, padding=1))


def test_gradients_are_right() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, 4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 3, 3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(fourier_convolution, (maps, weight))


def test_rounds_no_more_than_the_librarys_convolution_in_32_bits() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(16, 512, 7, 7, generator=generator).relu()
    weight = 0.02 * torch.randn(64, 512, 3, 3, generator=generator)
    exact = functional.conv2d(maps.double(), weight.double(), padding=1)
    errors = [
        (made - exact).abs().max()
        for made in (fourier_convolution(maps, weight), functional.conv2d(maps, weight, padding=1))
    ]
    assert errors[0] < max(errors[1], 1e-5)


@pytest.mark.parametrize("images", [2, 16])
def test_layer_learns_and_evaluates_alike_with_few_and_many_images(images: int) -> None:
    layer = SmallMapConv2d(5, 40)
    maps = torch.randn(images, 5, 7, 7, generator=torch.Generator().manual_seed(0))
    plain = functional.conv2d(maps, layer.weight, padding=1)
    learning = layer.train()(maps)
    torch.testing.assert_close(learning, plain, rtol=1e-4, atol=1e-5)
    assert torch.equal(learning, fourier_convolution(maps, layer.weight)) == (images == 16)
    torch.testing.assert_close(layer.eval()(maps), plain)
    assert list(layer.state_dict()) == ["weight"]
