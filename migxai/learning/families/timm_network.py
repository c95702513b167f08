"""Any network of timm, ``timm:<name>``: its classifier is trained, and of a plain vision transformer the last block."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from migxai.errors import UsageError
from migxai.learning.backbones.base import Normalisation, Shapes, Split, Unfreeze
from migxai.learning.families.resnet18 import channels_last
from migxai.learning.families.vision_transformer import ViT, is_plain, timm_files, timm_normalisation
from migxai.learning.heads import Head, LinearHead
from migxai.learning.layers import find_pooled_layer


class Generic:
    """How a network of timm that this package does not know is built and cut: in front of its classifier."""

    def __init__(self, name: str, timm_name: str) -> None:
        self.name = name
        self.timm_name = timm_name

    @property
    def normalisation(self) -> Normalisation:
        """Of timm's own checkpoint."""
        return timm_normalisation(self.timm_name)

    def files(self) -> tuple[str, ...]:
        """Patterns of file names: timm's in its cache, then timm's copied elsewhere."""
        return timm_files(self.timm_name)

    def network(self, n_classes: int) -> nn.Module:
        """Build the intact network."""
        import timm

        return timm.create_model(self.timm_name, pretrained=False, num_classes=n_classes)

    def split(self, unfreeze: Unfreeze) -> Split:
        """Say how the network is cut.

        Raises
        ------
        UsageError
            If more than the classifier is to be trained, there is no single linear classifier, or slices do not fit.
        """
        if unfreeze != "linear":
            raise UsageError(
                f"What the last layer of {self.name} is, is not known here: only its classifier can be trained. Give "
                "--unfreeze linear, or leave this network out."
            )
        network: Any = self.network(2).eval()
        place = network.pretrained_cfg.get("classifier")
        if not isinstance(place, str) or not isinstance(network.get_submodule(place), nn.Linear):
            raise UsageError(f"{self.name} has no single linear classifier, so it cannot be used.")
        images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        try:
            with torch.inference_mode():
                made = _Trunk(network)(images, clean=True)
        except (AssertionError, RuntimeError) as error:
            raise UsageError(f"{self.name} does not take images of 224 x 224 pixels: {error}") from error
        pooled, maps = made["pooled"], made["maps"]
        # Only where the classifier reads the mean of maps are they of use.
        closed = maps.ndim == 4 and maps.shape[3] == pooled.shape[1] and torch.allclose(maps.mean(dim=(1, 2)), pooled)
        clean: Shapes = {"maps": tuple(maps.shape[1:])} if closed else {}
        return Split(
            self.name,
            "linear",
            {"pooled": tuple(pooled.shape[1:])},
            clean,
            {"classifier": place},
            pooled_layer=find_pooled_layer(network, images),
        )

    def convert(self, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], Normalisation]:
        """Take timm's layout as it is."""
        return state, self.normalisation

    def trunk(self, network: nn.Module, split: Split) -> nn.Module:  # noqa: ARG002  (there is one way to cut it)
        """Cut off what is frozen."""
        return _Trunk(network)

    def head(self, split: Split, n_classes: int) -> Head:
        """Build what is trained."""
        return LinearHead(split.features["pooled"][0], n_classes)


def family(name: str) -> ViT | Generic:
    """Return the family of ``timm:<name>``.

    Raises
    ------
    UsageError
        If timm has no such network.
    """
    import timm

    timm_name = name.partition(":")[2]
    if not timm.is_model(timm_name):
        raise UsageError(f"timm has no network {timm_name!r}; timm.list_models() lists those it has.")
    with torch.device("meta"):
        network = timm.create_model(timm_name, pretrained=False)
    return ViT(name, timm_name) if is_plain(network) else Generic(name, timm_name)


class _Trunk(nn.Module):
    """The whole network but its classifier."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, clean: bool) -> dict[str, Tensor]:
        maps = self.network.forward_features(images)
        features: dict[str, Tensor] = {"pooled": self.network.forward_head(maps, pre_logits=True)}
        return features | {"maps": channels_last(maps) if maps.ndim == 4 else maps} if clean else features
