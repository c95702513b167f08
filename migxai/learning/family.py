"""What a network must offer so that its frozen part runs once and only its head is trained. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from migxai.learning.heads import Head

Unfreeze = Literal["last-conv", "last-block", "linear"]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Normalisation:
    """What a network wants its images, 0 to 1, to be shifted and scaled by, channel by channel."""

    mean: tuple[float, float, float]
    sd: tuple[float, float, float]


#: Of torchvision's checkpoints, but for GoogLeNet's.
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: Of images from -1 to 1.
HALF = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class Split:
    """Where a network is cut into a frozen trunk and a head that is trained.

    Attributes
    ----------
    unfreeze
        What the head holds beside the classifier; options that come to the same for a network are one.
    features
        What the trunk hands to the head, by name, and its shape for one image; maps are (height, width, channels).
    clean
        What only the explanations need, so that it is kept for the view without augmentation alone.
    modules
        Where each part of the head lies in the intact network, by the names of modules.
    details
        Numbers that the head is built from.
    pooled_layer
        As in `Network`, of a network whose entry does not state it; found by running it, empty if it has none.
    receptive_fields
        As in `Network`, measured; kept with what the trunk makes. It is no part of what tells splits apart.
    """

    network: str
    unfreeze: Unfreeze
    features: Shapes
    clean: Shapes
    modules: Mapping[str, str]
    details: Mapping[str, float] = field(default_factory=dict)
    pooled_layer: str = field(default="", compare=False)
    receptive_fields: Mapping[str, tuple[float, float]] = field(default_factory=dict, compare=False)

    @property
    def view_size(self) -> int:
        """Numbers kept of one image of any view."""
        return sum(math.prod(shape) for shape in self.features.values())

    @property
    def clean_size(self) -> int:
        """Numbers kept beside them of an image without augmentation."""
        return sum(math.prod(shape) for shape in self.clean.values())

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    def identity(self) -> dict[str, Any]:
        """Return, of what `to_dict` gives, that which decides what the trunk makes."""
        return {
            name: value for name, value in self.to_dict().items() if name not in ("pooled_layer", "receptive_fields")
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Split:
        """Take back what `to_dict` gave, also through JSON."""
        values = dict(content)
        for name in ("features", "clean"):
            values[name] = {key: tuple(shape) for key, shape in values[name].items()}
        measured = values.get("receptive_fields", {})
        return cls(
            **{**values, "receptive_fields": {layer: (start, step) for layer, (start, step) in measured.items()}}
        )


class Family(Protocol):
    """A kind of network: how it is built and cut. Entries in `migxai.learning.backbones` load it."""

    @property
    def normalisation(self) -> Normalisation:
        """What images are normalised with where no checkpoint says otherwise."""
        ...

    def split(self, unfreeze: Unfreeze) -> Split:
        """Say how the network is cut; UsageError if it cannot be cut there."""
        ...

    def files(self) -> tuple[str, ...]:
        """Patterns of the names of files with its weights, the official one first; below a folder, with ``/``."""
        ...

    def network(self, n_classes: int) -> nn.Module:
        """Build the intact network; its weights are whatever the library sets."""
        ...

    def convert(self, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], Normalisation]:
        """Bring a checkpoint of any known layout to that of `network`; add the normalisation it was trained with."""
        ...

    def trunk(self, network: nn.Module, split: Split) -> nn.Module:
        """Cut the frozen part out of an intact network, sharing its weights.

        The module takes normalised images (B, 3, H, W) and ``clean``, a bool, and returns the features by name: those
        of ``split.features``, and those of ``split.clean`` too where ``clean`` is true.
        """
        ...

    def head(self, split: Split, n_classes: int) -> Head:
        """Build the part that is trained, its weights not yet set."""
        ...
