"""GoogLeNet (Szegedy et al. 2015) of torchvision: ``inception5b`` is the last block.

Its last convolution, by order of computation and of definition, is that of the pooling branch, ``branch4[1]``.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from migxai.learning.backbones.base import HALF, Normalisation, Shapes, Split, Unfreeze
from migxai.learning.families.resnet18 import channels_last, pooled_maps
from migxai.learning.heads import Features, Head, LinearHead, channels_first

#: Of the last block: what comes in, and what each of its four branches gives.
_INPUT = 832
_BRANCHES = (384, 384, 128, 128)
_CHANNELS = sum(_BRANCHES)
_FROZEN = _CHANNELS - _BRANCHES[3]


class GoogLeNet:
    """How GoogLeNet is built and cut.

    torchvision's checkpoint was trained on images from -1 to 1. torchvision normalises them as for its other networks
    and has the network undo that (``transform_input``); both together are the normalisation here.
    """

    normalisation: Normalisation = HALF

    _features: ClassVar[dict[Unfreeze, Shapes]] = {
        "last-conv": {"branch": (7, 7, _INPUT), "frozen": (_FROZEN,)},
        "last-block": {"input": (7, 7, _INPUT)},
        "linear": {"pooled": (_CHANNELS,)},
    }
    _clean: ClassVar[dict[Unfreeze, Shapes]] = {
        "last-conv": {"frozen_maps": (7, 7, _FROZEN)},
        "last-block": {},
        "linear": {"maps": (7, 7, _CHANNELS)},
    }
    _modules: ClassVar[dict[Unfreeze, dict[str, str]]] = {
        "last-conv": {"branch": "inception5b.branch4.1", "classifier": "fc"},
        "last-block": {"block": "inception5b", "classifier": "fc"},
        "linear": {"classifier": "fc"},
    }

    def split(self, unfreeze: Unfreeze) -> Split:
        """Say how the network is cut."""
        parts = self._features[unfreeze], self._clean[unfreeze], self._modules[unfreeze]
        return Split("googlenet", unfreeze, *parts)

    def files(self) -> tuple[str, ...]:
        """Patterns of file names, the official one first."""
        return ("googlenet-*.pth", "googlenet*.pth", "googlenet*.pt", "googlenet*.safetensors")

    def network(self, n_classes: int) -> nn.Module:
        """Build the intact network, without the auxiliary classifiers, which only training from the start uses."""
        from torchvision.models import googlenet

        made = googlenet(weights=None, num_classes=n_classes, aux_logits=False, init_weights=False)
        return cast(nn.Module, made)

    def convert(self, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], Normalisation]:
        """Take torchvision's layout, without the auxiliary classifiers."""
        return {name: tensor for name, tensor in state.items() if not name.startswith("aux")}, self.normalisation

    def trunk(self, network: nn.Module, split: Split) -> nn.Module:
        """Cut off what is frozen."""
        return _Trunk(network, split.unfreeze)

    def head(self, split: Split, n_classes: int) -> Head:
        """Build what is trained."""
        if split.unfreeze == "linear":
            return LinearHead(_CHANNELS, n_classes)
        return LastConv(n_classes) if split.unfreeze == "last-conv" else LastBlock(n_classes)


class _Trunk(nn.Module):
    def __init__(self, network: nn.Module, unfreeze: Unfreeze) -> None:
        super().__init__()
        parts = dict(network.named_children())
        ends = ("inception5b", "aux1", "aux2", "avgpool", "dropout", "fc")
        self.stem = nn.Sequential(*(part for name, part in parts.items() if name not in ends))
        self.block: Any = parts["inception5b"]
        self.unfreeze = unfreeze

    def forward(self, images: Tensor, clean: bool) -> dict[str, Tensor]:
        before = self.stem(images)
        if self.unfreeze == "last-block":
            return {"input": channels_last(before)}
        if self.unfreeze == "linear":
            return pooled_maps(self.block(before), clean)
        block = self.block
        maps = torch.cat([block.branch1(before), block.branch2(before), block.branch3(before)], dim=1)
        # The pooling in front of the trained convolution has nothing to learn.
        features = {
            "branch": channels_last(block.branch4[0](before)),
            "frozen": maps.mean(dim=(2, 3), dtype=torch.float32),
        }
        return features | {"frozen_maps": channels_last(maps)} if clean else features


class _ConvNorm(nn.Module):
    """A convolution, its batch normalisation and ReLU; parts are named as in torchvision."""

    def __init__(self, width: int, channels: int, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, channels, size, padding=size // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=1e-3)

    def forward(self, maps: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(maps)))


class LastConv(Head):
    """The convolution of the last block's pooling branch, with its batch normalisation; three branches are frozen."""

    def __init__(self, n_classes: int) -> None:
        super().__init__(_CHANNELS, n_classes)
        self.branch = _ConvNorm(_INPUT, _BRANCHES[3], 1)

    def maps(self, features: Features) -> Tensor:
        """Return the output of ``inception5b``, (B, 1024, 7, 7)."""
        trained = self.branch(channels_first(features["branch"]))
        return torch.cat([channels_first(features["frozen_maps"]), trained], dim=1)

    def pooled(self, features: Features) -> Tensor:
        """Return what the classifier reads before dropout, (B, 1024)."""
        trained = self.branch(channels_first(features["branch"])).mean(dim=(2, 3))
        return torch.cat([features["frozen"], trained], dim=1)


class _Inception(nn.Module):
    """The last block; its branches are named as in torchvision."""

    def __init__(self) -> None:
        super().__init__()
        self.branch1 = _ConvNorm(_INPUT, _BRANCHES[0], 1)
        self.branch2 = nn.Sequential(_ConvNorm(_INPUT, 192, 1), _ConvNorm(192, _BRANCHES[1], 3))
        # torchvision has 3 x 3 where the paper has 5 x 5, and its checkpoint was made so.
        self.branch3 = nn.Sequential(_ConvNorm(_INPUT, 48, 1), _ConvNorm(48, _BRANCHES[2], 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), _ConvNorm(_INPUT, _BRANCHES[3], 1))

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([branch(maps) for branch in self.children()], dim=1)


class LastBlock(Head):
    """The whole last block, ``inception5b``."""

    def __init__(self, n_classes: int) -> None:
        super().__init__(_CHANNELS, n_classes)
        self.block = _Inception()

    def maps(self, features: Features) -> Tensor:
        """Return the output of ``inception5b``, (B, 1024, 7, 7)."""
        return cast(Tensor, self.block(channels_first(features["input"])))

    def pooled(self, features: Features) -> Tensor:
        """Return what the classifier reads before dropout, (B, 1024)."""
        return self.maps(features).mean(dim=(2, 3))
