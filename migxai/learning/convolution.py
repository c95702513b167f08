"""Convolutions over small maps, several times cheaper to train on a CPU: most of what heads with one cost is in it."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

#: Output channels at a time, so that what is made of their weights stays in the cache.
_CHANNELS = 32
#: Images below which transforming the weights in every step costs more than it saves.
_IMAGES = 16


class SmallMapConv2d(nn.Conv2d):
    """A 3 x 3 convolution with padding 1 and no bias, which learns on a CPU through `fourier_convolution`.

    Parameters and their names are those of `torch.nn.Conv2d`; evaluation and GPUs use the library's own convolution.
    Both forms differ by rounding alone.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3, padding=1, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the library's name)
        """Return maps (B, channels_out, h, w) of maps (B, channels_in, h, w)."""
        if self.training and input.device.type == "cpu" and len(input) >= _IMAGES:
            return fourier_convolution(input, self.weight)
        return super().forward(input)


def fourier_convolution(maps: Tensor, weight: Tensor) -> Tensor:
    """Convolve maps with 3 x 3 kernels, padding 1, by multiplying Fourier coefficients (Mathieu et al. 2014).

    For maps of 7 x 7 this takes 94 products for each pair of channels instead of 441, in the gradient of the weights
    too, and the transforms are small matrix products; sums over channels are shorter, so it rounds less.

    Parameters
    ----------
    maps
        (B, C, h, w).
    weight
        (K, C, 3, 3).

    Returns
    -------
    torch.Tensor
        (B, K, h, w), in memory order "channels last"; what `torch.nn.functional.conv2d` returns, up to rounding.
    """
    count, channels, height, width = maps.shape
    of_maps, of_weights, back = (
        torch.from_numpy(matrix).to(maps.dtype) for matrix in _bilinear_algorithm(height, width)
    )
    rows = maps.permute(0, 2, 3, 1).reshape(count, height * width, channels)
    spectra = torch.matmul(of_maps, rows).transpose(0, 1).contiguous()
    made = []
    for part in torch.split(weight, _CHANNELS):
        taps = part.flatten(2).permute(2, 1, 0).reshape(9, -1)
        products = torch.bmm(spectra, torch.mm(of_weights, taps).view(-1, channels, len(part)))
        made.append(torch.matmul(back, products.transpose(0, 1)))
    return torch.cat(made, dim=2).view(count, height, width, -1).permute(0, 3, 1, 2)


@cache
def _bilinear_algorithm(height: int, width: int) -> tuple[NDArray[np.float64], ...]:
    """Return A, B, C such that the flattened convolution of a map x with a kernel w is ``C @ ((A @ x) * (B @ w))``.

    One column of zeros and one row are enough to keep the borders of a circular convolution apart. Of the coefficients
    of real maps every other is the conjugate of another and left out. A product of complex numbers takes three of real
    ones (Gauss): with ``t = (a + b) c``, ``(a + ib)(c + id)`` is ``t - b (c + d) + i (t + a (d - c))``.
    """
    size = np.array([height + 1, width + 1])
    places = np.stack(np.unravel_index(np.arange(height * width), (height, width)))
    taps = 1 - np.stack(np.unravel_index(np.arange(9), (3, 3)))
    of_maps, of_weights, back = [], [], []
    for pair in np.ndindex(height + 1, width + 1):
        frequency = np.array(pair)
        mirrored = tuple(-frequency % size)
        if mirrored < pair:
            continue
        x, w = (np.exp(-2j * np.pi * (frequency / size) @ points) for points in (places, taps))
        y = np.conj(x) / size.prod()
        if mirrored == pair:
            of_maps += [x.real]
            of_weights += [w.real]
            back += [y.real]
        else:
            of_maps += [x.real + x.imag, x.real, x.imag]
            of_weights += [w.real, w.imag - w.real, w.real + w.imag]
            back += [2 * (y.real - y.imag), -2 * y.imag, -2 * y.real]
    return np.array(of_maps), np.array(of_weights), np.stack(back, axis=1)
