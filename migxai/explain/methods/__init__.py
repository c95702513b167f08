"""The ways to make maps by name: a new one is one file and one line here. Imports no torch by itself."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from migxai.errors import UsageError
from migxai.learning.backbones import NETWORKS

if TYPE_CHECKING:
    from migxai.explain.methods.base import Method
    from migxai.learning.backbones.base import Split

#: Names, and the module of this package whose ``method()`` makes the `Method`.
METHODS: dict[str, str] = {
    "gradcam": "gradcam",
    "layercam": "layercam",
    "hirescam": "hirescam",
    "gradcam++": "gradcam_plusplus",
    "eigencam": "eigencam",
    "paper": "paper",
    "attention": "attention",
    "rollout": "rollout",
}

#: How methods are called in words.
METHOD_NAMES = {
    "gradcam": "Grad-CAM",
    "layercam": "LayerCAM",
    "hirescam": "HiResCAM",
    "gradcam++": "Grad-CAM++",
    "eigencam": "Eigen-CAM",
    "paper": "the paper's map (sum of absolute values)",
    "attention": "attention of the last block",
    "rollout": "attention rollout",
    "fused": "fused layers",
}
#: Made of several layers of the intact network, where all others read the store's features.
FUSED = "fused"
__all__ = ["FUSED", "METHODS", "METHOD_NAMES", "find_method", "fits", "is_by_class"]


def find_method(name: str) -> Method:
    """Return a way to make maps.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    if name not in METHODS:
        raise UsageError(f"There is no way {name!r} to make maps (--cam); there are {', '.join(METHODS)}.")
    made: Method = import_module(f"{__name__}.{METHODS[name]}").method()
    return made


def is_by_class(name: str) -> bool:
    """Say whether maps depend on the class that is explained.

    Raises
    ------
    UsageError
        If there is no such way to make maps.
    """
    return name == FUSED or find_method(name).by_class


def fits(name: str, split: Split) -> bool:
    """Say whether a way to make maps fits a network as it is cut.

    Attention needs a transformer. Gradients need something behind the frozen part that they can be taken in: a
    transformer's last block, or maps whose mean the classifier reads.

    Raises
    ------
    UsageError
        If there is no such way.
    """
    if name == FUSED:
        return bool(NETWORKS[split.network].fused_layers)
    transformer = "rows" in split.details
    if find_method(name).of_attention:
        return transformer
    if transformer:
        return "block" in split.modules
    return split.unfreeze != "linear" or "maps" in split.clean
