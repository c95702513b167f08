"""Regions of a map against those of models that learned permuted labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from migxai.explain.aggregate import evened, regional_t
from migxai.explain.saliency_maps import Evidence, explain_people, joined
from migxai.explain.volumes import SliceSpace
from migxai.learning.crossval import FoldResult
from migxai.learning.splits import Fold
from migxai.learning.store import FeatureStore
from migxai.metrics.types import IntArray


@dataclass
class RegionWatch:
    """Watches cross-validations of a network and keeps each one's regional t between classes.

    Attributes
    ----------
    labels
        Class of each person of the comparison, (n,).
    folds
        Folds of one cross-validation; after as many it is complete.
    method
        The way maps are made.
    store
        Features of the network.
    space, regions, indices
        The voxels that slices show, the region of each (V,), and the labels of the R regions.
    found
        For each complete cross-validation `regional_t` of each pair of classes, (pairs, R), pairs as `combinations`
        yields them.
    """

    labels: IntArray
    folds: int
    method: str
    store: FeatureStore
    space: SliceSpace
    regions: IntArray
    indices: tuple[int, ...]
    found: list[NDArray[np.float64]] = field(default_factory=list)
    _parts: list[Evidence] = field(default_factory=list)

    def __call__(self, fold: Fold, result: FoldResult) -> None:
        """Explain the test subjects of a fold by its model."""
        classes = int(self.labels.max()) + 1
        head = result.estimator.head_module()  # type: ignore[union-attr]
        maps = explain_people(head, self.store, result.rows, self.method, self.space, classes)
        labels = self.labels[fold.test]
        self._parts.append(evened(Evidence(fold.test, labels, labels, maps, np.full(len(labels), fold.number))))
        if len(self._parts) == self.folds:
            whole = joined(self._parts)
            pairs = combinations(range(classes), 2)
            self.found.append(np.stack([regional_t([whole], pair, self.regions, self.indices) for pair in pairs]))
            self._parts.clear()


def region_p(
    observed: NDArray[np.float64], null: NDArray[np.float64], *, two_sided: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Set regions against those of permuted labels.

    Parameters
    ----------
    observed
        (R,).
    null
        Of each permutation, (P, R).
    two_sided
        Whether values below zero count as much as those above.

    Returns
    -------
    p, p_fwe
        (1 + permutations that reach as much) / (1 + P), in the same region, and in any region (Westfall and Young's
        largest value: corrected for all regions), (R,); NaN where nothing was observed.
    """
    if two_sided:
        observed, null = np.abs(observed), np.abs(null)
    there = ~np.isnan(observed)
    p, p_fwe = np.full(observed.shape, np.nan), np.full(observed.shape, np.nan)
    kept = null[:, there]
    p[there] = (1 + (kept >= observed[there]).sum(axis=0)) / (1 + len(null))
    p_fwe[there] = (1 + (kept.max(axis=1)[:, None] >= observed[there]).sum(axis=0)) / (1 + len(null))
    return p, p_fwe
