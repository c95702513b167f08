"""Registration and resampling: pure functions on arrays and affines (engines use temporary files of their own).

Everything is loaded when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from migxai.registration.engines import find_engine
    from migxai.registration.masks import epi_brain_mask, extract_brain, template_grid, tissue_compartment
    from migxai.registration.normalise import epi_to_t1w, epi_to_template, t1w_to_template
    from migxai.registration.realignment import realign
    from migxai.registration.resample import labels_on_grid, resample_series, resample_to_grid
    from migxai.registration.space import Chain, Volume, load_transform, map_points, save_transform

_HOMES = {
    "extract_brain": "masks",
    "find_engine": "engines",
    "epi_brain_mask": "masks",
    "template_grid": "masks",
    "tissue_compartment": "masks",
    "epi_to_t1w": "normalise",
    "epi_to_template": "normalise",
    "t1w_to_template": "normalise",
    "realign": "realignment",
    "labels_on_grid": "resample",
    "resample_series": "resample",
    "resample_to_grid": "resample",
    "Chain": "space",
    "load_transform": "space",
    "map_points": "space",
    "save_transform": "space",
    "Volume": "space",
}

__all__ = [
    "Chain",
    "Volume",
    "epi_brain_mask",
    "epi_to_t1w",
    "epi_to_template",
    "extract_brain",
    "find_engine",
    "labels_on_grid",
    "load_transform",
    "map_points",
    "realign",
    "resample_series",
    "resample_to_grid",
    "save_transform",
    "t1w_to_template",
    "template_grid",
    "tissue_compartment",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
