"""The trained end of a network: from frozen features to logits, and to what class activation maps are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from migxai.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Features = Mapping[str, Tensor]

#: Output channels that `fourier_convolution` takes at a time, so that what is made of their weights stays in the cache.
_CHANNELS = 32
#: Images below which, in `SmallMapConv2d`, transforming the weights in every step costs more than it saves.
_IMAGES = 16


class Head(nn.Module):
    """What is trained: perhaps a last layer or block, then pooling, dropout and the classifier.

    Subclasses define `pooled`, and `maps` where the classifier reads the mean of maps: logit c is then
    ``bias_c + sum_k weight_ck mean(maps_k)``, which gives Grad-CAM in closed form. The classifier reads `width`
    numbers, D, and tells `n_classes` classes, C.
    """

    def __init__(self, width: int, n_classes: int) -> None:
        super().__init__()
        self.standard: nn.Module = nn.Identity()
        self.classifier = nn.Linear(width, n_classes)

    def pooled(self, features: Features) -> Tensor:
        """Return what the classifier reads before dropout, (B, D)."""
        raise NotImplementedError

    def maps(self, features: Features) -> Tensor:  # noqa: ARG002  (subclasses read them)
        """Return the maps whose mean the classifier reads, (B, D, h, w), with the clean view's features.

        Raises InputError if the classifier of this network does not read the mean of maps.
        """
        raise InputError(
            f"The classifier of this network ({type(self).__name__}) does not read the mean of maps, so there is no "
            "class activation map in closed form."
        )

    def forward(self, features: Features, keep: Tensor | None = None) -> Tensor:
        """Return logits, (B, C), of features by name, each (B, ...), float32.

        `keep` is dropout as a factor for each number that the classifier reads, (B, D), from `dropout_factors`. It is
        drawn outside, so that a seed decides it and not the state of the process.
        """
        pooled = self.standard(self.pooled(features))
        return cast(Tensor, self.classifier(pooled if keep is None else pooled * keep))

    def standardise(self) -> None:
        """Have what the classifier reads standardised by the batch's mean and variance, until `fold` is called.

        As for linear classifiers of frozen features in Doersch et al. 2015 and He et al. 2022 (batch normalisation that
        learns no scale and no shift). Frozen features have means many times their spread, and gradient descent on
        them as they are spends itself on the means.
        """
        self.standard = nn.BatchNorm1d(self.classifier.in_features, affine=False, momentum=None)

    def fold(self) -> None:
        """Put the mean standardisation of all batches seen into the classifier, which then reads features as before."""
        norm, self.standard = self.standard, nn.Identity()
        if not isinstance(norm, nn.BatchNorm1d):
            return
        assert norm.running_mean is not None
        assert norm.running_var is not None
        with torch.no_grad():
            self.classifier.weight.div_(torch.sqrt(norm.running_var + norm.eps))
            self.classifier.bias.sub_(self.classifier.weight @ norm.running_mean)


class LinearHead(Head):
    """The classifier alone, on pooled features (``pooled``); maps (``maps``) are there for explanations."""

    def pooled(self, features: Features) -> Tensor:
        """Return what the classifier reads before dropout, (B, D)."""
        return features["pooled"]

    def maps(self, features: Features) -> Tensor:
        """Return the maps whose mean the classifier reads, (B, D, h, w)."""
        if "maps" not in features:
            return super().maps(features)
        return channels_first(features["maps"])


def channels_first(maps: Tensor) -> Tensor:
    """See maps (B, h, w, K), as they are stored, as (B, K, h, w) in memory order "channels last", without a copy."""
    return maps.permute(0, 3, 1, 2)


def channels_last(maps: Tensor) -> Tensor:
    """See maps (B, K, h, w) as (B, h, w, K), the order in which they are stored."""
    return maps.permute(0, 2, 3, 1)


def dropout_factors(shape: tuple[int, int], rate: float, generator: torch.Generator) -> Tensor | None:
    """Draw dropout: 0 with probability `rate`, else 1 / (1 - rate)."""
    if rate == 0:
        return None
    kept = torch.rand(shape, generator=generator) >= rate
    return kept.float() / (1.0 - rate)


def initialise(head: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights of a head anew.

    Convolutions after He et al. 2015 (variance 2 / fan in), linear layers from a truncated normal of variance
    1 / fan in, biases 0; every normalisation scales by 1 and shifts by 0, with running mean 0 and variance 1. The
    classifier starts at a tenth of that, so that all classes start about equally likely.
    """
    for name, module in head.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            draw_weights(module, generator)
            if name == "classifier":
                with torch.no_grad():
                    module.weight.mul_(0.1)
        elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            module.reset_parameters()


def draw_weights(module: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
    """Draw the weights of one layer such that it keeps the variance of what goes through it; biases are 0."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
    else:
        sd = 1.0 / math.sqrt(module.in_features)
        nn.init.trunc_normal_(module.weight, std=sd, a=-2 * sd, b=2 * sd, generator=generator)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def to_arrays(head: nn.Module) -> dict[str, NDArray[np.floating]]:
    """Return all that a head has learned, as arrays by name."""
    return {
        name: tensor.detach().cpu().contiguous().numpy().copy()
        for name, tensor in head.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def from_arrays(head: nn.Module, arrays: Mapping[str, NDArray[np.floating]]) -> None:
    """Set what `to_arrays` returned; arrays of another head raise InputError."""
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}
    expected = {name: shape for name, shape in expected.items() if not name.endswith("num_batches_tracked")}
    if expected != {name: tuple(tensor.shape) for name, tensor in state.items()}:
        raise InputError("The saved weights belong to another network, split or number of classes than the head does.")
    head.load_state_dict(state, strict=False)


class SmallMapConv2d(nn.Conv2d):
    """A 3 x 3 convolution with padding 1 and no bias, which learns on a CPU through `fourier_convolution`.

    That is several times cheaper, and most of what heads with a convolution cost is in it. Evaluation and GPUs use the
    library's own convolution, whose names of parameters these are; both differ by rounding alone.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3, padding=1, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the library's name)
        """Return maps (B, channels_out, h, w) of maps (B, channels_in, h, w)."""
        if self.training and input.device.type == "cpu" and len(input) >= _IMAGES:
            return fourier_convolution(input, self.weight)
        return super().forward(input)


def fourier_convolution(maps: Tensor, weight: Tensor) -> Tensor:
    """Convolve maps (B, C, h, w) with kernels (K, C, 3, 3), padding 1, by Fourier coefficients (Mathieu et al. 2014).

    For maps of 7 x 7 this takes 94 products for each pair of channels instead of 441, in the gradient of the weights
    too, and the transforms are small matrix products; sums over channels are shorter, so it rounds less. Returns
    (B, K, h, w) in memory order "channels last": what `torch.nn.functional.conv2d` returns, up to rounding.
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
