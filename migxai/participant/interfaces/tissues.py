"""Tissue compartments in the grid of a run, from the packaged priors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.data.templates import TemplateName
from migxai.participant.interfaces.base import packaged_volume
from migxai.registration.masks import tissue_compartment
from migxai.registration.resample import resample_to_grid

#: Deep in the tissue, so that partial volume with grey matter adds no signal of interest to a nuisance regressor.
#: The prior's CSF is what the brain mask leaves to neither grey nor white matter: without erosion the brain's edge
#: counts, and its ventricles are too narrow for the stricter threshold.
_COMPARTMENTS: dict[str, tuple[TemplateName, str, float, float]] = {
    "white_matter": ("WM", "white matter", 0.9, 2.0),
    "csf": ("CSF", "cerebrospinal fluid", 0.7, 2.0),
}


def signal_compartment(name: str, mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Voxels (V,) whose mean is the tissue signal ``white_matter`` or ``csf``.

    Raises
    ------
    DenoisingError
        If too few are left.
    """
    prior, words, threshold, erosion = _COMPARTMENTS[name]
    return tissue_compartment(packaged_volume(prior), mask, affine, name=words, threshold=threshold, erosion=erosion)


def tissue_classes(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Most probable tissue of each voxel, as three masks (V,) named GM, WM and CSF, for figures."""
    shape = (mask.shape[0], mask.shape[1], mask.shape[2])
    names: tuple[TemplateName, ...] = ("GM", "WM", "CSF")
    priors = []
    for name in names:
        volume = packaged_volume(name)
        priors.append(resample_to_grid(volume.data, volume.affine, target_affine=affine, target_shape=shape)[mask])
    likeliest = np.argmax(priors, axis=0)
    return {name: likeliest == place for place, name in enumerate(names)}
