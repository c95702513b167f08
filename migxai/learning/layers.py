"""What running a network tells of its layers: which one feeds the pooling, and where in the picture its maps look.

A 7 x 7 map is usually stretched over the 224 pixels as if value i covered pixels 32 i to 32 i + 31. But a convolution
of stride 2 with a padding of one looks at pixels around 2 i, not 2 i + 0.5, and a pooling without padding around
2 i + 1; over five of them that adds up. So where maps look is stated by a network's entry, worked out from strides,
kernels and paddings, or measured here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from migxai.errors import InputError
from migxai.learning.devices import single_thread

#: Rows and columns of the pictures that networks are measured on: so wide that what a value sees ends well inside.
_WIDE = (64, 896)
#: What networks that take one size only are measured on.
_SQUARE = (224, 224)
#: Values in a row, around its middle, whose receptive fields are measured, and pictures.
_MEASURED, _PICTURES = 5, 4


def find_pooled_layer(network: nn.Module, images: Tensor) -> str:
    """Name the layer that a network's maps are best made at, by running it on normalised images (B, 3, H, H).

    The last one that gives maps of more than one place; of a transformer the first normalisation of the last block,
    since often nothing but the class token is read of what that block gives out. Empty if no layer gives maps. The
    network must be in evaluation mode.
    """
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ARG001
            # A layer that runs twice counts where it ran last.
            seen.pop(name, None)
            if name and isinstance(output, Tensor) and map_layout(output):
                seen[name] = output

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in network.named_modules()]
    try:
        with torch.inference_mode():
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    blocks = getattr(network, "blocks", None)
    first_norm = f"blocks.{len(blocks) - 1}.norm1" if isinstance(blocks, nn.Sequential | nn.ModuleList) else ""
    if first_norm in seen and seen[first_norm].ndim == 3:
        return first_norm
    return next((name for name, output in reversed(seen.items()) if output.ndim == 4), "")


def map_layout(output: Tensor) -> str:
    """Say how a layer's output holds maps of a square picture: ``channels-first``, ``channels-last`` or ``tokens``.

    Empty if it holds none, or one value only.
    """
    shape = tuple(output.shape)
    if len(shape) == 4 and shape[2] == shape[3] > 1:
        return "channels-first"
    if len(shape) == 4 and shape[1] == shape[2] > 1:
        return "channels-last"
    # Class tokens and registers stand in front of the patches.
    return "tokens" if len(shape) == 3 and shape[1] >= 4 else ""


def as_maps(output: Tensor) -> Tensor:
    """See a layer's output as maps (B, K, h, w), whatever its layout."""
    layout = map_layout(output)
    if layout == "tokens":
        edge = int(output.shape[1] ** 0.5)
        patches = output[:, output.shape[1] - edge**2 :]
        return patches.transpose(1, 2).reshape(len(output), -1, edge, edge)
    return output.permute(0, 3, 1, 2) if layout == "channels-last" else output


def measure_receptive_fields(network: nn.Module, layer: str) -> tuple[float, float]:
    """Measure where in the picture the maps of a layer look, good to half a pixel; the network is not changed.

    What a value depends on is the gradient with respect to the picture. With trained or drawn weights that is ragged;
    with kernels that weigh all their places alike it is as symmetric as strides and paddings make it, and its centre
    of mass is the centre. What is the same everywhere, as of layers that look at the whole picture, does not count.
    Of tokens and of maps with channels last nothing is measured, since the patches that they are made of divide the
    picture evenly.

    Returns
    -------
    tuple
        The pixel at the centre of what the first value of a row sees, to half a pixel, and the step to the next.

    Raises
    ------
    InputError
        If no pixel reaches the layer.
    """
    with single_thread():
        return _measure(_flat_copy(network), layer)


def _measure(network: nn.Module, layer: str) -> tuple[float, float]:
    try:
        output, images = _run(network, layer, _WIDE)
    except (AssertionError, RuntimeError, ValueError):
        # It takes pictures of one size only.
        output, images = _run(network, layer, _SQUARE)
    if output.ndim != 4 or output.shape[1] == output.shape[2] != output.shape[3]:
        step = _SQUARE[1] / as_maps(output).shape[-1]
        return (step - 1) / 2, step
    step = images.shape[-1] / output.shape[-1]
    middle = output.shape[-1] // 2
    starts = []
    for column in range(middle - _MEASURED // 2, middle + _MEASURED // 2 + 1):
        gradient = torch.autograd.grad(output[..., column].sum(), images, retain_graph=True)[0]
        starts.append(_centre(gradient.square().sum(dim=(0, 1, 2)).double().numpy()) - step * column)
    if not np.isfinite(starts).all():
        raise InputError(f"No pixel of a picture reaches the layer {layer}: it can't be said where its maps look.")
    return round(2 * float(np.mean(starts))) / 2, step


def _run(network: nn.Module, layer: str, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return a layer's output for bright noise, and the pictures to differentiate by."""
    seen: list[Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda _, __, output: seen.append(output))
    generator = torch.Generator().manual_seed(0)
    images = (0.5 + torch.rand((_PICTURES, 3, *size), generator=generator)).requires_grad_()
    try:
        with torch.enable_grad():
            network(images)
    finally:
        handle.remove()
    return seen[-1], images


def _flat_copy(network: nn.Module) -> nn.Module:
    """Copy a network such that a value depends on the picture as strides and paddings have it, and on nothing else.

    Kernels become positive and the same at all their places, maximum pooling takes the mean, rectifiers let all pass.
    """
    made = copy.deepcopy(network).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for name, module in list(made.named_modules()):
        if isinstance(module, nn.Conv2d):
            outside, inside, *places = module.weight.shape
            weights = torch.rand((outside, inside, 1, 1), generator=generator) * 2 / (inside * int(np.prod(places)))
            module.weight.copy_(weights.expand_as(module.weight))
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_parameters()
        if isinstance(module, nn.MaxPool2d):
            pool = nn.AvgPool2d(module.kernel_size, module.stride, module.padding, module.ceil_mode)
            made.set_submodule(name, pool)
        elif name and type(module).__module__.rpartition(".")[2].startswith("activation"):
            if "sigmoid" in type(module).__name__.lower():
                made.set_submodule(name, _Open())
            elif not isinstance(module, nn.Softmax | nn.MultiheadAttention):
                made.set_submodule(name, nn.Identity())
    return made


class _Open(nn.Module):
    """A gate that lets all pass: what weighs channels by the whole picture says nothing of places."""

    def forward(self, values: Tensor) -> Tensor:
        return torch.ones_like(values)


def _centre(profile: NDArray[np.float64]) -> float:
    """Return the centre of mass of a profile (W,) over its background, within as much on either side; NaN if flat."""
    above = np.clip(profile - np.median(profile), 0.0, None)
    places = np.arange(len(profile))
    inside = np.ones(len(profile), dtype=bool)
    centre = np.nan
    for _ in range(20):
        if not above[inside].any():
            return float("nan")
        centre = float((places[inside] * above[inside]).sum() / above[inside].sum())
        inside = np.abs(places - centre) <= min(centre, len(profile) - 1 - centre)
    return centre
