"""The group level's numbers: slices, features, classifiers, cross-validation, saved models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from migxai.learning.persistence import SavedModel, load_model

__all__ = ["SavedModel", "load_model"]


def __getattr__(name: str) -> Any:
    # Listing networks and estimators, also for --help, must not import what reads models.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from migxai.learning import persistence

    return getattr(persistence, name)
