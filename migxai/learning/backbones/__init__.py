"""Networks whose frozen part runs once: a new one is one file and one line here. Imports no torch by itself."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import TYPE_CHECKING

from migxai.errors import UsageError
from migxai.learning.backbones.base import Family, Split, Unfreeze

if TYPE_CHECKING:
    import torch

    from migxai.config import Learning
    from migxai.learning.backbones.backbone import Backbone
    from migxai.learning.heads import Head

#: Names, and the module of this package whose ``family(name)`` makes the network's `Family`.
BACKBONES: dict[str, str] = {
    "googlenet": "googlenet",
    "resnet18": "resnet18",
    "vit_b_16": "vit",
}

#: Before the name of any network of timm.
TIMM = "timm:"

__all__ = ["BACKBONES", "Split", "find_family", "find_split", "is_backbone", "make_backbone", "make_head"]


def is_backbone(name: str) -> bool:
    """Say whether a name is one of a network; of ``timm:<name>`` nothing but the prefix is looked at."""
    return name in BACKBONES or (name.startswith(TIMM) and len(name) > len(TIMM))


@functools.cache
def find_family(name: str) -> Family:
    """Return what knows how to build and cut a network.

    Raises
    ------
    UsageError
        If there is no such network.
    """
    if not is_backbone(name):
        raise UsageError(f"There is no network {name!r}; there are {', '.join(BACKBONES)} and timm:NAME.")
    module = import_module(f"{__name__}.{BACKBONES.get(name, 'generic')}")
    made: Family = module.family(name)
    return made


@functools.cache
def find_split(name: str, unfreeze: Unfreeze) -> Split:
    """Say how a network is cut; see `Split`.

    Raises
    ------
    UsageError
        If there is no such network, or it cannot be cut there.
    """
    return find_family(name).split(unfreeze)


def make_backbone(name: str, settings: Learning, seed: int, *, device: torch.device | None = None) -> Backbone:
    """Load a network with its weights, ready to make features.

    Parameters
    ----------
    name
        A key of `BACKBONES`, or ``timm:<name>``.
    settings
        ``weights``, ``weights_dir``, ``unfreeze`` and ``precision`` matter.
    seed
        Of the weights where they are random.
    device
        Where it computes; None is the CPU.

    Raises
    ------
    InputError
        If there are no weights, or they cannot be read, or are those of another network.
    UsageError
        If there is no such network, or it cannot be cut as asked.
    """
    from migxai.learning.backbones.backbone import Backbone
    from migxai.learning.weights import load_network

    loaded = load_network(name, settings, seed)
    return Backbone(find_split(name, settings.unfreeze), loaded, precision=settings.precision, device=device)


def make_head(split: Split, n_classes: int, generator: torch.Generator) -> Head:
    """Build the trained part of a network with weights drawn anew; neither torchvision nor timm is imported."""
    from migxai.learning.heads import initialise

    head = find_family(split.network).head(split, n_classes)
    initialise(head, generator)
    return head
