"""What the modules of `migxai.learning` hand to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from migxai.metrics.types import FloatArray, IntArray

if TYPE_CHECKING:
    from migxai.learning.store import FeatureStore


@dataclass(frozen=True)
class Inputs:
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

    def take(self, rows: IntArray) -> Inputs:
        """Return the inputs of some subjects, in that order."""
        return Inputs(
            tuple(self.subjects[row] for row in np.asarray(rows).tolist()),
            self.regions[rows],
            self.nuisance[rows],
            self.nuisance_names,
            None if self.store is None else self.store.take(rows),
        )
