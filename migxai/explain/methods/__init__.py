"""The ways to make maps by name: a new one is one file and one line here. Imports no torch by itself."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from migxai.errors import UsageError

if TYPE_CHECKING:
    from migxai.explain.methods.base import Method

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

__all__ = ["METHODS", "find_method"]


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
