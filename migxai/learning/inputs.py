"""What estimators read of subjects: tables, and the store of their slices' features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from migxai.errors import AtlasError
from migxai.metrics.types import FloatArray, IntArray
from migxai.signal.maps import region_coverage, region_values

if TYPE_CHECKING:
    from migxai.learning.store import FeatureStore


@dataclass(frozen=True)
class ModelInputs:
    """All that the estimators of one indicator may read; row i of everything is subject i.

    Attributes
    ----------
    subjects
        Unique keys, ``<dataset>/<participant_id>``.
    regions
        Regional means of the indicator, shape (N, R); NaN where a subject's map does not cover a region.
    nuisance
        What must not be what a classifier has learned (motion, coverage, age, sex, site), shape (N, P); NaN where
        unknown.
    nuisance_names
        Names of the P columns.
    store
        Frozen features of the slices, for the deep models; None where no deep model was asked for.
    """

    subjects: tuple[str, ...]
    regions: FloatArray
    nuisance: FloatArray
    nuisance_names: tuple[str, ...]
    store: FeatureStore | None = None

    def take(self, rows: IntArray) -> ModelInputs:
        """Return the inputs of some subjects, in that order."""
        return ModelInputs(
            tuple(self.subjects[row] for row in np.asarray(rows).tolist()),
            self.regions[rows],
            self.nuisance[rows],
            self.nuisance_names,
            None if self.store is None else self.store.take(rows),
        )


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
