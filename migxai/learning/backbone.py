"""A network with its weights: its frozen trunk makes features, and a trained head can be put back into it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from migxai.learning.backbones import NETWORKS, find_family, find_split, pooled_layer
from migxai.learning.family import Split
from migxai.learning.layers import measure_receptive_fields
from migxai.learning.weights import LoadedNetwork, load_network

if TYPE_CHECKING:
    from migxai.config import Learning
    from migxai.learning.heads import Head


class Backbone:
    """The frozen part of a network, ready to make features of images.

    With `precision` ``bf16`` the trunk computes in 16 bits (bfloat16), with ``fp32`` in 32; without a `device` on the
    CPU. `network` is the intact network in evaluation mode, in 32 bits, on the CPU; nothing changes it.
    """

    def __init__(
        self,
        split: Split,
        loaded: LoadedNetwork,
        *,
        precision: Literal["bf16", "fp32"] = "fp32",
        device: torch.device | None = None,
    ) -> None:
        self.split = split
        self.precision = precision
        self.weights_hash = loaded.weights_hash
        self.normalisation = loaded.normalisation
        self.network = loaded.network.eval().requires_grad_(False)
        self._device = device or torch.device("cpu")
        self._dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        trunk = copy.deepcopy(find_family(split.network).trunk(self.network, split)).eval()
        fuse_batch_norms(trunk)
        # A trunk may say for itself which of its parts must stay in 32 bits.
        lower = getattr(trunk, "lower", trunk.to)
        self._trunk: nn.Module = lower(self._dtype).to(self._device).to(memory_format=torch.channels_last)

    @cached_property
    def receptive_fields(self) -> dict[str, tuple[float, float]]:
        """Where in the picture the layer looks that feeds the pooling, measured; empty where the entry states it."""
        layer = pooled_layer(self.split)
        if not layer or NETWORKS[self.split.network].stated_fields(layer):
            return {}
        return {layer: measure_receptive_fields(self.network, layer)}

    def normalise(self, images: Tensor) -> Tensor:
        """Give images (B, 1 or 3, H, W) from 0 to 1 three channels and the network's own normalisation."""
        mean = torch.tensor(self.normalisation.mean, device=images.device).reshape(1, 3, 1, 1)
        sd = torch.tensor(self.normalisation.sd, device=images.device).reshape(1, 3, 1, 1)
        return (images.float() - mean) / sd

    @torch.inference_mode()
    def features(self, images: Tensor, *, clean: bool = False) -> dict[str, Tensor]:
        """Run the frozen trunk on images (B, 1 or 3, 224, 224) from 0 to 1.

        Returns features (B, ...) of ``split.features``, with `clean`, which only explanations need, also of
        ``split.clean``, on the CPU, in whatever precision the trunk made them.
        """
        normalised = self.normalise(images.to(self._device)).to(self._dtype, memory_format=torch.channels_last)
        made = cast(dict[str, Tensor], self._trunk(normalised, clean))
        wanted = [*self.split.features, *(self.split.clean if clean else ())]
        return {name: made[name].cpu() for name in wanted}

    def original_head(self) -> Head:
        """Return the head with the weights that the intact network has there: trunk and head are then the network."""
        split = self.split
        classifier = cast(nn.Linear, self.network.get_submodule(split.modules["classifier"]))
        head = find_family(split.network).head(split, classifier.out_features)
        state = {
            f"{part}.{name}": tensor
            for part, place in split.modules.items()
            for name, tensor in self.network.get_submodule(place).state_dict().items()
        }
        head.load_state_dict(state)
        return head.eval()

    def assemble(self, head: Head) -> nn.Module:
        """Put a trained head back into a copy of the intact network: normalised images to logits, in 32 bits.

        This is what pytorch-grad-cam works on; layers have the library's own names. Without dropout, and in
        evaluation mode.
        """
        network = copy.deepcopy(self.network)
        state = head.state_dict()
        for part, place in self.split.modules.items():
            inside = {name.removeprefix(f"{part}."): t for name, t in state.items() if name.startswith(f"{part}.")}
            if part == "classifier":
                classes, width = inside["weight"].shape
                network.set_submodule(place, nn.Linear(width, classes))
            network.get_submodule(place).load_state_dict(inside)
        return network.eval()


def make_backbone(name: str, settings: Learning, seed: int, *, device: torch.device | None = None) -> Backbone:
    """Load a network with its weights, ready to make features; `seed` is that of the weights where they are random.

    Raises
    ------
    InputError
        If there are no weights, or they cannot be read, or are those of another network.
    UsageError
        If there is no such network, or it cannot be cut as asked.
    """
    loaded = load_network(name, settings, seed)
    return Backbone(find_split(name, settings.unfreeze), loaded, precision=settings.precision, device=device)


def fuse_batch_norms(module: nn.Module) -> None:
    """Fold each batch normalisation into the convolution right before it, in place, for evaluation."""
    for holder, conv, norm in list(_pairs(module)):
        fused = fuse_conv_bn_eval(cast(nn.Conv2d, getattr(holder, conv)), cast(nn.BatchNorm2d, getattr(holder, norm)))
        setattr(holder, conv, fused)
        setattr(holder, norm, nn.Identity())


def _pairs(module: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Find convolutions followed by their batch normalisation among the children of each module."""
    previous: tuple[str, nn.Module] | None = None
    for name, child in module.named_children():
        # Subclasses may do more than normalise; timm's apply the activation too.
        if type(child) is nn.BatchNorm2d and previous is not None and type(previous[1]) is nn.Conv2d:
            yield module, previous[0], name
        yield from _pairs(child)
        previous = (name, child)
