"""Regional means of a map, with what is not covered left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.errors import AtlasError
from migxai.signal.regions import region_coverage, region_values

FloatArray = NDArray[np.floating[Any]]


def regional_means(
    volume: FloatArray,
    labels: NDArray[np.integer[Any]],
    indices: Sequence[int] | NDArray[np.integer[Any]],
    covered: NDArray[np.bool_],
    min_coverage: float = 0.5,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average a map over the covered part of each region.

    Parameters
    ----------
    volume
        Map (X, Y, Z).
    labels
        Atlas on the map's grid (X, Y, Z), 0 for none.
    indices
        Labels of the regions wanted, in the order wanted, (R,).
    covered
        Where the subject has data (X, Y, Z); voxels that are not finite count as not covered.
    min_coverage
        Least covered share of a region for its mean to be given.

    Returns
    -------
    means
        (R,), NaN for regions covered by less than `min_coverage` or not at all: a mean over a rim would pass for one
        over the region.
    coverage
        Share of each region's voxels that is covered, (R,), 0 to 1; 0 for a region without a voxel on the grid.

    Raises
    ------
    AtlasError
        If the shapes differ.
    """
    values = np.asarray(volume)
    if values.shape != np.shape(labels) or values.shape != np.shape(covered):
        raise AtlasError(
            f"A map of shape {values.shape}, an atlas of shape {np.shape(labels)} and a mask of shape "
            f"{np.shape(covered)} do not fit each other."
        )
    inside = np.asarray(covered, dtype=bool) & np.isfinite(values)
    wanted = np.asarray(indices)
    means = region_values(values[inside], np.asarray(labels)[inside], wanted)
    # `region_coverage` refuses an empty mask, but a map without any data covers nothing of every region.
    coverage = np.nan_to_num(region_coverage(labels, inside, wanted)) if inside.any() else np.zeros(len(wanted))
    means[coverage < min_coverage] = np.nan
    return means, coverage
