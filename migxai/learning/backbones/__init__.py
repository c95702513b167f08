"""Networks that look at slices: the registry of their entries, and what of them is known without building them.

Imports no torch by itself. An entry names what builds and cuts its network (a `Family`), so a new network is one module
with an `ENTRY`, here or in another package (entry points ``migxai.networks``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from migxai.errors import UsageError
from migxai.learning.family import Family, Split, Unfreeze
from migxai.registry import Entry, Registry

if TYPE_CHECKING:
    import torch

    from migxai.learning.heads import Head

#: Before the name of any network of timm.
TIMM = "timm:"


@dataclass(frozen=True, kw_only=True)
class Network(Entry):
    """A network by name.

    Attributes
    ----------
    load
        Returns what builds and cuts the network; only this imports torch.
    pooled_layer
        Name, in the intact network, of the layer whose output feeds the pooling in front of the classifier: where
        Grad-CAM looks. Empty where it is not stated; then it is found by running the network.
    fused_layers
        Layers that ``--cam fused`` looks at together, the finest first; empty where it can't be used.
    receptive_fields
        Where in the picture the maps of a layer look, by the beginning of the layer's name: the pixel at the centre of
        what the first value of a row sees, and the step to the next in pixels. Worked out from strides, kernels and
        paddings. Of layers that are not stated it is measured.
    """

    load: Callable[[], Family]
    pooled_layer: str = ""
    fused_layers: tuple[str, ...] = ()
    receptive_fields: Mapping[str, tuple[float, float]] = field(default_factory=dict, compare=False)

    def stated_fields(self, layer: str) -> tuple[float, float] | None:
        """Return what `receptive_fields` says of a layer; None if nothing."""
        stated = (fields for beginning, fields in self.receptive_fields.items() if layer.startswith(beginning))
        return next(stated, None)


class _Networks(Registry[Network]):
    """The registry of networks, which also makes entries for ``timm:NAME``; of them it lists none."""

    def __getitem__(self, name: str) -> Network:
        if not name.startswith(TIMM):
            return super().__getitem__(name)
        if name == TIMM:
            raise UsageError(f"{TIMM} needs the name of a network of timm behind it.")

        def load() -> Family:
            from migxai.learning.timm_networks import timm_family

            return timm_family(name)

        return Network(name=name, title=name, load=load)

    def __contains__(self, name: object) -> bool:
        """Say whether there is such a network; of ``timm:NAME`` nothing but the prefix is looked at."""
        return super().__contains__(name) or (isinstance(name, str) and name.startswith(TIMM) and name != TIMM)


NETWORKS: Registry[Network] = _Networks("network", Network, package=__name__, group="networks")


@functools.cache
def find_family(name: str) -> Family:
    """Return what builds and cuts a network; UsageError if there is none of that name."""
    return NETWORKS[name].load()


@functools.cache
def find_split(name: str, unfreeze: Unfreeze) -> Split:
    """Say how a network is cut; UsageError if there is no such network, or it cannot be cut there."""
    return find_family(name).split(unfreeze)


def pooled_layer(split: Split) -> str:
    """Name the layer whose output feeds the pooling in front of the classifier; empty where no layer gives maps."""
    # What was stored before layers were looked for does not say.
    known = NETWORKS[split.network].pooled_layer or split.pooled_layer
    return known or find_split(split.network, split.unfreeze).pooled_layer


def make_head(split: Split, n_classes: int, generator: torch.Generator) -> Head:
    """Build the trained part of a network with weights drawn anew; neither torchvision nor timm is imported."""
    from migxai.learning.heads import initialise

    head = find_family(split.network).head(split, n_classes)
    initialise(head, generator)
    return head
