"""Indicators of spontaneous activity: pure functions from voxel series to maps, one file each, and their registry.

`alff`, `falff` and `reho` take images (X, Y, Z, T) with a mask; `alff_voxels`, `falff_voxels` and `reho_voxels` take
voxel series (V, T), rows in C order of the mask.
"""

from migxai.indicators.alff import alff, alff_voxels, falff, falff_voxels
from migxai.indicators.normalisation import mean_normalised, z_scored
from migxai.indicators.reho import reho, reho_voxels
from migxai.indicators.rfcs import correlation_matrix, rfcs

__all__ = [
    "alff",
    "alff_voxels",
    "correlation_matrix",
    "falff",
    "falff_voxels",
    "mean_normalised",
    "reho",
    "reho_voxels",
    "rfcs",
    "z_scored",
]
