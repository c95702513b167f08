"""ResNet18 (He et al. 2016) of torchvision: ``layer4[1]`` is the last block, its ``conv2`` the last convolution."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from migxai.learning.backbones.base import IMAGENET, Normalisation, Shapes, Split, Unfreeze
from migxai.learning.convolution import SmallMapConv2d
from migxai.learning.heads import Features, Head, LinearHead, channels_first

_CHANNELS = 512
_MAPS = (7, 7, _CHANNELS)


class ResNet18:
    """How ResNet18 is built and cut."""

    normalisation: Normalisation = IMAGENET

    _features: ClassVar[dict[Unfreeze, Shapes]] = {
        "last-conv": {"inner": _MAPS, "skip": _MAPS},
        "last-block": {"input": _MAPS},
        "linear": {"pooled": (_CHANNELS,)},
    }
    _modules: ClassVar[dict[Unfreeze, dict[str, str]]] = {
        "last-conv": {"conv": "layer4.1.conv2", "norm": "layer4.1.bn2", "classifier": "fc"},
        "last-block": {"block": "layer4.1", "classifier": "fc"},
        "linear": {"classifier": "fc"},
    }

    def split(self, unfreeze: Unfreeze) -> Split:
        """Say how the network is cut."""
        clean: Shapes = {"maps": _MAPS} if unfreeze == "linear" else {}
        return Split("resnet18", unfreeze, self._features[unfreeze], clean, self._modules[unfreeze])

    def files(self) -> tuple[str, ...]:
        """Patterns of file names, the official one first."""
        return ("resnet18-*.pth", "resnet18*.pth", "resnet18*.pt", "resnet18*.safetensors")

    def network(self, n_classes: int) -> nn.Module:
        """Build the intact network."""
        from torchvision.models import resnet18

        return cast(nn.Module, resnet18(weights=None, num_classes=n_classes))

    def convert(self, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], Normalisation]:
        """Take torchvision's layout as it is."""
        return state, self.normalisation

    def trunk(self, network: nn.Module, split: Split) -> nn.Module:
        """Cut off what is frozen."""
        return _Trunk(network, split.unfreeze)

    def head(self, split: Split, n_classes: int) -> Head:
        """Build what is trained."""
        if split.unfreeze == "linear":
            return LinearHead(_CHANNELS, n_classes)
        return LastConv(n_classes) if split.unfreeze == "last-conv" else LastBlock(n_classes)


class _Trunk(nn.Module):
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
        return pooled_maps(self.block(skip), clean)


class LastConv(Head):
    """The second convolution of the last block, with its batch normalisation; the first is frozen."""

    def __init__(self, n_classes: int) -> None:
        super().__init__(_CHANNELS, n_classes)
        self.conv = SmallMapConv2d(_CHANNELS, _CHANNELS)
        self.norm = nn.BatchNorm2d(_CHANNELS)

    def maps(self, features: Features) -> Tensor:
        """Return the output of ``layer4[1]``, (B, 512, 7, 7)."""
        residual = self.norm(self.conv(channels_first(features["inner"])))
        return functional.relu(residual + channels_first(features["skip"]))

    def pooled(self, features: Features) -> Tensor:
        """Return what the classifier reads before dropout, (B, 512)."""
        return self.maps(features).mean(dim=(2, 3))


class LastBlock(Head):
    """The whole last block: two convolutions with their batch normalisations, and the identity beside them."""

    def __init__(self, n_classes: int) -> None:
        super().__init__(_CHANNELS, n_classes)
        self.block = nn.ModuleDict(
            {
                "conv1": SmallMapConv2d(_CHANNELS, _CHANNELS),
                "bn1": nn.BatchNorm2d(_CHANNELS),
                "conv2": SmallMapConv2d(_CHANNELS, _CHANNELS),
                "bn2": nn.BatchNorm2d(_CHANNELS),
            }
        )

    def maps(self, features: Features) -> Tensor:
        """Return the output of ``layer4[1]``, (B, 512, 7, 7)."""
        skip, block = channels_first(features["input"]), self.block
        inner = functional.relu(block["bn1"](block["conv1"](skip)))
        return functional.relu(block["bn2"](block["conv2"](inner)) + skip)

    def pooled(self, features: Features) -> Tensor:
        """Return what the classifier reads before dropout, (B, 512)."""
        return self.maps(features).mean(dim=(2, 3))


def channels_last(maps: Tensor) -> Tensor:
    """See maps (B, K, h, w) as (B, h, w, K), the order in which they are stored."""
    return maps.permute(0, 2, 3, 1)


def pooled_maps(maps: Tensor, clean: bool) -> dict[str, Tensor]:
    """Return the mean of maps (B, K, h, w), taken in single precision, and for the clean view the maps."""
    features = {"pooled": maps.mean(dim=(2, 3), dtype=torch.float32)}
    return features | {"maps": channels_last(maps)} if clean else features
