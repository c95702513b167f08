"""GoogLeNet (Szegedy et al. 2015) and ResNet18 (He et al. 2016) of torchvision: how they are built and cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from migxai.learning.family import HALF, IMAGENET, Normalisation, Shapes, Split, Unfreeze
from migxai.learning.heads import Features, Head, LinearHead, SmallMapConv2d, channels_first, channels_last


class _TorchvisionFamily:
    """What both networks share; see `Family`. The tables are by what is trained."""

    name: ClassVar[str]
    normalisation: Normalisation
    _features: ClassVar[Mapping[Unfreeze, Shapes]]
    _clean: ClassVar[Mapping[Unfreeze, Shapes]]
    _modules: ClassVar[Mapping[Unfreeze, Mapping[str, str]]]
    _heads: ClassVar[Mapping[Unfreeze, Callable[[int], Head]]]

    def split(self, unfreeze: Unfreeze) -> Split:
        """Say how the network is cut."""
        return Split(self.name, unfreeze, self._features[unfreeze], self._clean[unfreeze], self._modules[unfreeze])

    def files(self) -> tuple[str, ...]:
        """Patterns of file names, the official one first."""
        return tuple(f"{self.name}{ending}" for ending in ("-*.pth", "*.pth", "*.pt", "*.safetensors"))

    def convert(self, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], Normalisation]:
        """Take torchvision's layout, without auxiliary classifiers, which only training from the start uses."""
        return {name: tensor for name, tensor in state.items() if not name.startswith("aux")}, self.normalisation

    def head(self, split: Split, n_classes: int) -> Head:
        """Build what is trained."""
        return self._heads[split.unfreeze](n_classes)


class _MapsHead(Head):
    """A head whose classifier reads the mean of `maps` as they are."""

    def pooled(self, features: Features) -> Tensor:
        """Return what the classifier reads before dropout, (B, D)."""
        return self.maps(features).mean(dim=(2, 3))


def _pooled_maps(maps: Tensor, clean: bool) -> dict[str, Tensor]:
    """Return the mean of maps (B, K, h, w), taken in single precision, and for the clean view the maps."""
    features = {"pooled": maps.mean(dim=(2, 3), dtype=torch.float32)}
    return features | {"maps": channels_last(maps)} if clean else features


# GoogLeNet. Its last block is ``inception5b``, whose last convolution, by order of computation and of definition, is
# that of the pooling branch, ``branch4[1]``.

#: Of the last block: what comes in, and what each of its four branches gives.
_INPUT = 832
_BRANCHES = (384, 384, 128, 128)
_CHANNELS = sum(_BRANCHES)
_FROZEN = _CHANNELS - _BRANCHES[3]


class _GoogLeNetTrunk(nn.Module):
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
            return _pooled_maps(self.block(before), clean)
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


class _GoogLeNetConv(Head):
    """The convolution of the last block's pooling branch, with its batch normalisation; three branches are frozen."""

    def __init__(self, n_classes: int) -> None:
        super().__init__(_CHANNELS, n_classes)
        self.branch = _ConvNorm(_INPUT, _BRANCHES[3], 1)

    def maps(self, features: Features) -> Tensor:
        """Return the output of ``inception5b``, (B, 1024, 7, 7)."""
        trained = self.branch(channels_first(features["branch"]))
        return torch.cat([channels_first(features["frozen_maps"]), trained], dim=1)

    def pooled(self, features: Features) -> Tensor:
        """Return what the classifier reads before dropout, (B, 1024); views but the clean one have no frozen maps."""
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


class _GoogLeNetBlock(_MapsHead):
    """The whole last block, ``inception5b``."""

    def __init__(self, n_classes: int) -> None:
        super().__init__(_CHANNELS, n_classes)
        self.block = _Inception()

    def maps(self, features: Features) -> Tensor:
        """Return the output of ``inception5b``, (B, 1024, 7, 7)."""
        return cast(Tensor, self.block(channels_first(features["input"])))


class GoogLeNet(_TorchvisionFamily):
    """How GoogLeNet is built and cut.

    torchvision's checkpoint was trained on images from -1 to 1. torchvision normalises them as for its other networks
    and has the network undo that (``transform_input``); both together are the normalisation here.
    """

    name = "googlenet"
    normalisation = HALF
    _features: ClassVar[Mapping[Unfreeze, Shapes]] = {
        "last-conv": {"branch": (7, 7, _INPUT), "frozen": (_FROZEN,)},
        "last-block": {"input": (7, 7, _INPUT)},
        "linear": {"pooled": (_CHANNELS,)},
    }
    _clean: ClassVar[Mapping[Unfreeze, Shapes]] = {
        "last-conv": {"frozen_maps": (7, 7, _FROZEN)},
        "last-block": {},
        "linear": {"maps": (7, 7, _CHANNELS)},
    }
    _modules: ClassVar[Mapping[Unfreeze, Mapping[str, str]]] = {
        "last-conv": {"branch": "inception5b.branch4.1", "classifier": "fc"},
        "last-block": {"block": "inception5b", "classifier": "fc"},
        "linear": {"classifier": "fc"},
    }
    _heads: ClassVar[Mapping[Unfreeze, Callable[[int], Head]]] = {
        "last-conv": _GoogLeNetConv,
        "last-block": _GoogLeNetBlock,
        "linear": lambda n_classes: LinearHead(_CHANNELS, n_classes),
    }

    def network(self, n_classes: int) -> nn.Module:
        """Build the intact network, without the auxiliary classifiers."""
        from torchvision.models import googlenet

        made = googlenet(weights=None, num_classes=n_classes, aux_logits=False, init_weights=False)
        return cast(nn.Module, made)

    def trunk(self, network: nn.Module, split: Split) -> nn.Module:
        """Cut off what is frozen."""
        return _GoogLeNetTrunk(network, split.unfreeze)


# ResNet18. Its last block is ``layer4[1]``, whose ``conv2`` is the last convolution.

_WIDTH = 512
_MAPS = (7, 7, _WIDTH)


class _ResNetTrunk(nn.Module):
    def __init__(self, network: Any, unfreeze: Unfreeze) -> None:
        super().__init__()
        parts = dict(network.named_children())
        names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")
        self.stem = nn.Sequential(*(parts[name] for name in names))
        self.before, self.block = network.layer4
        self.unfreeze = unfreeze

    def forward(self, images: Tensor, clean: bool) -> dict[str, Tensor]:
        skip = self.before(self.stem(images))
        if self.unfreeze == "last-block":
            return {"input": channels_last(skip)}
        if self.unfreeze == "last-conv":
            inner = functional.relu(self.block.bn1(self.block.conv1(skip)))
            return {"inner": channels_last(inner), "skip": channels_last(skip)}
        return _pooled_maps(self.block(skip), clean)


class _ResNetConv(_MapsHead):
    """The second convolution of the last block, with its batch normalisation; the first is frozen."""

    def __init__(self, n_classes: int) -> None:
        super().__init__(_WIDTH, n_classes)
        self.conv = SmallMapConv2d(_WIDTH, _WIDTH)
        self.norm = nn.BatchNorm2d(_WIDTH)

    def maps(self, features: Features) -> Tensor:
        """Return the output of ``layer4[1]``, (B, 512, 7, 7)."""
        residual = self.norm(self.conv(channels_first(features["inner"])))
        return functional.relu(residual + channels_first(features["skip"]))


class _ResNetBlock(_MapsHead):
    """The whole last block: two convolutions with their batch normalisations, and the identity beside them."""

    def __init__(self, n_classes: int) -> None:
        super().__init__(_WIDTH, n_classes)
        self.block = nn.ModuleDict(
            {
                "conv1": SmallMapConv2d(_WIDTH, _WIDTH),
                "bn1": nn.BatchNorm2d(_WIDTH),
                "conv2": SmallMapConv2d(_WIDTH, _WIDTH),
                "bn2": nn.BatchNorm2d(_WIDTH),
            }
        )

    def maps(self, features: Features) -> Tensor:
        """Return the output of ``layer4[1]``, (B, 512, 7, 7)."""
        skip, block = channels_first(features["input"]), self.block
        inner = functional.relu(block["bn1"](block["conv1"](skip)))
        return functional.relu(block["bn2"](block["conv2"](inner)) + skip)


class ResNet18(_TorchvisionFamily):
    """How ResNet18 is built and cut."""

    name = "resnet18"
    normalisation = IMAGENET
    _features: ClassVar[Mapping[Unfreeze, Shapes]] = {
        "last-conv": {"inner": _MAPS, "skip": _MAPS},
        "last-block": {"input": _MAPS},
        "linear": {"pooled": (_WIDTH,)},
    }
    _clean: ClassVar[Mapping[Unfreeze, Shapes]] = {"last-conv": {}, "last-block": {}, "linear": {"maps": _MAPS}}
    _modules: ClassVar[Mapping[Unfreeze, Mapping[str, str]]] = {
        "last-conv": {"conv": "layer4.1.conv2", "norm": "layer4.1.bn2", "classifier": "fc"},
        "last-block": {"block": "layer4.1", "classifier": "fc"},
        "linear": {"classifier": "fc"},
    }
    _heads: ClassVar[Mapping[Unfreeze, Callable[[int], Head]]] = {
        "last-conv": _ResNetConv,
        "last-block": _ResNetBlock,
        "linear": lambda n_classes: LinearHead(_WIDTH, n_classes),
    }

    def network(self, n_classes: int) -> nn.Module:
        """Build the intact network."""
        from torchvision.models import resnet18

        return cast(nn.Module, resnet18(weights=None, num_classes=n_classes))

    def trunk(self, network: nn.Module, split: Split) -> nn.Module:
        """Cut off what is frozen."""
        return _ResNetTrunk(network, split.unfreeze)
