"""Convolutions through Fourier coefficients are convolutions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from migxai.learning.convolution import SmallMapConv2d, fourier_convolution

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
