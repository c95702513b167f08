"""Regions of an atlas: what maps and indicators are there, and whether two groups differ.

People whose maps come from one model are not independent of each other, so maps have no p values of their own. Theirs
come from models that learned permuted labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from migxai.errors import AtlasError
from migxai.explain.saliency_maps import SaliencyMaps, join_folds, scale_folds
from migxai.metrics.types import IntArray

if TYPE_CHECKING:
    import pandas as pd

    from migxai.explain.volumes import SliceSpace
    from migxai.learning.crossval import FoldResult
    from migxai.learning.feature_store import FeatureStore
    from migxai.learning.splits import Fold


#: How the names of the regions begin that the paper reports: cuneus, precuneus and the frontal gyri.
PAPER = ("Cuneus", "Precuneus", "Frontal_")
#: A region's values count where at least this many of its voxels lie in slices.
LEAST_VOXELS = 5


def mean_by_region(row: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], indices: tuple[int, ...]) -> Any:
    """Average values (..., V) over R regions, (..., R); NaN where fewer than `LEAST_VOXELS` voxels are shown.

    `labels` holds the region of each voxel, 0 for none, (V,); `indices` the labels of the regions wanted.
    """
    member = labels[:, None] == np.asarray(indices)
    counts = member.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.asarray(row, dtype=np.float64) @ member / counts
    return np.where(counts >= LEAST_VOXELS, means, np.nan)


def region_table(
    row: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    names: dict[int, str],
    positions: NDArray[np.floating[Any]],
    *,
    by: NDArray[np.float64] | None = None,
    two_sided: bool = False,
) -> pd.DataFrame:
    """Describe a map (V,) by region.

    Parameters
    ----------
    labels
        Region of each voxel, 0 for none, (V,); `names` are by label.
    positions
        MNI coordinates of the voxels, mm, (V, 3).
    by
        What regions are ranked by, in the order of `names`, (R,); by default their mean.
    two_sided
        Whether values below zero mean as much as those above; the rank is then by absolute value.

    Returns
    -------
    pandas.DataFrame
        One row a region in the order of `names`: index, region, hemisphere (of the peak: ``left``, ``right`` or
        ``middle``), n_voxels, mean, peak (of the largest value) with peak_x, peak_y, peak_z, rank (1 is the
        highest), top_decile (share of the map's highest tenth of voxels that lies in the region), and whether the
        paper reports it. Regions that slices hardly show have no values.

    Raises
    ------
    AtlasError
        If no region lies in the map.
    """
    import pandas as pd

    indices = tuple(names)
    if not np.isin(labels, indices).any():
        raise AtlasError("No region of the atlas lies where the slices show brain; check the atlas and the slices.")
    ranked = np.abs(row) if two_sided else np.asarray(row)
    top = ranked >= np.quantile(ranked, 0.9)
    rows: list[dict[str, Any]] = []
    for index, mean in zip(indices, mean_by_region(row, labels, indices).tolist(), strict=True):
        inside = np.flatnonzero(labels == index)
        line: dict[str, Any] = {"index": index, "region": names[index], "n_voxels": len(inside), "mean": mean}
        if np.isfinite(mean):
            peak = inside[np.argmax(ranked[inside])]
            x, y, z = (round(float(mm), 1) for mm in positions[peak])
            line |= {
                "hemisphere": "left" if x < 0 else "right" if x > 0 else "middle",
                "peak": float(row[peak]),
                "peak_x": x,
                "peak_y": y,
                "peak_z": z,
                "top_decile": float(top[inside].sum() / top.sum()),
            }
        rows.append(line | {"paper": names[index].startswith(PAPER)})
    columns = ("index", "region", "hemisphere", "n_voxels", "mean", "peak", "peak_x", "peak_y", "peak_z")
    table = pd.DataFrame(rows).reindex(columns=[*columns, "top_decile", "paper"])
    ordered = table["mean"] if by is None else pd.Series(by)
    ordered = ordered.abs() if two_sided else ordered
    table.insert(5, "rank", ordered.rank(ascending=False, method="min").astype("Int64"))
    return table


@dataclass(frozen=True, eq=False)
class GroupTest:
    """A two-sample test at each of R places: t (R,), positive where the second group is higher, NaN where untestable.

    With two-sided p, the same corrected for the R places after Benjamini and Hochberg, and degrees of freedom, (R,).
    """

    t: NDArray[np.float64]
    p: NDArray[np.float64]
    p_fdr: NDArray[np.float64]
    df: NDArray[np.float64]


def compare_groups(
    values: NDArray[np.floating[Any]], second: NDArray[np.bool_] | IntArray, sites: Sequence[str] | None = None
) -> GroupTest:
    """Compare two groups at each place by a linear model with a mean for each site.

    With one site it is Student's two-sample t-test. Values (n, R) are NaN where a person has none; that person is left
    out there. The test is NaN where a group has fewer than two people, values don't vary, or group and site can't be
    told apart.
    """
    from scipy import stats

    group = np.asarray(second, dtype=np.float64)
    names, of = np.unique(np.zeros(len(group)) if sites is None else np.asarray(sites), return_inverse=True)
    design = np.column_stack([group, np.eye(len(names))[of]])
    found = np.asarray(values, dtype=np.float64)
    t, df = np.full(found.shape[1], np.nan), np.full(found.shape[1], np.nan)
    there = np.isfinite(found)
    patterns, which = np.unique(there, axis=1, return_inverse=True)
    for number, rows in enumerate(patterns.T):
        places = np.flatnonzero(np.ravel(which) == number)
        if min(group[rows].sum(), (1 - group[rows]).sum()) >= 2:
            t[places], df[places] = _t_of_first(design[rows], found[np.ix_(rows, places)])
    p: NDArray[np.float64] = np.asarray(2 * stats.t.sf(np.abs(t), df))
    p_fdr = np.full_like(p, np.nan)
    tested = np.isfinite(p)
    if tested.any():
        p_fdr[tested] = stats.false_discovery_control(p[tested])
    return GroupTest(t, p, p_fdr, df)


def _t_of_first(design: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[NDArray[np.float64] | float, float]:
    """T of the design's first column in each of (n, R) values, and the degrees of freedom."""
    design = design[:, design.any(axis=0)]
    rank, df = np.linalg.matrix_rank(design), len(design) - np.linalg.matrix_rank(design)
    if rank < design.shape[1] or df < 1:
        return np.nan, np.nan
    inverse = np.linalg.inv(design.T @ design)
    betas = inverse @ design.T @ values
    residual = values - design @ betas
    variance = (residual**2).sum(axis=0) / df
    # Values that don't vary within groups leave rounding errors only.
    fixed = variance <= 1e-20 * np.square(values).mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(fixed, np.nan, betas[0] / np.sqrt(variance * inverse[0, 0]))
    return t, float(df)


def regional_t(
    trials: Sequence[SaliencyMaps], pair: tuple[int, int], labels: NDArray[np.integer[Any]], indices: tuple[int, ...]
) -> NDArray[np.float64]:
    """Set two classes against each other in each of R regions, by how far people of one class differ there, (R,).

    Welch's t of people's regional means, over trials, of what speaks for the second class rather than for the first. It
    ranks regions: by the mean difference alone, a few voxels at an uneven edge come before a large region in which all
    people of a class are alike. People tested by one model are not independent, so its p value comes from permuted
    labels and not from the distribution of t. NaN for regions that slices hardly show, and everywhere if a class has
    fewer than two people.

    `trials` are from `scale_folds`; `labels` holds the region of each voxel (V,), `indices` the labels of the regions.
    """
    people: dict[tuple[int, int], list[NDArray[np.float64]]] = {}
    for trial in trials:
        means = mean_by_region(trial.favouring(pair), labels, indices)
        for label, place, values in zip(trial.labels.tolist(), trial.places.tolist(), means, strict=True):
            people.setdefault((label, place), []).append(values)
    first, second = (
        np.array([np.mean(values, axis=0) for (label, _), values in people.items() if label == wanted])
        for wanted in pair
    )
    if min(len(first), len(second)) < 2:
        return np.full(len(indices), np.nan)
    spread = np.sqrt(first.var(axis=0, ddof=1) / len(first) + second.var(axis=0, ddof=1) / len(second))
    change = second.mean(axis=0) - first.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(change == 0, 0.0, change / spread)


@dataclass
class RegionalNull:
    """Gathers what regions show after models have learned permuted labels: `regional_t` of each cross-validation.

    Called after each fold, so that maps, which are large, need not be kept.

    Attributes
    ----------
    labels
        Class of each person of the comparison, (n,).
    folds
        Folds of one cross-validation; after as many it is complete.
    regions, indices
        The region of each voxel of the space, (V,), and the labels of the R regions.
    found
        For each complete cross-validation `regional_t` of each pair of classes, (pairs, R), as `combinations` yields
        them.
    """

    labels: IntArray
    folds: int
    method: str
    store: FeatureStore
    space: SliceSpace
    regions: IntArray
    indices: tuple[int, ...]
    found: list[NDArray[np.float64]] = field(default_factory=list)
    _parts: list[SaliencyMaps] = field(default_factory=list)

    def __call__(self, fold: Fold, result: FoldResult) -> None:
        """Explain the test subjects of a fold by its model."""
        from migxai.explain.explainers import explain_people

        classes = int(self.labels.max()) + 1
        head = result.estimator.head_module()  # type: ignore[union-attr]
        maps = explain_people(head, self.store, result.rows, self.method, self.space, classes)
        labels = self.labels[fold.test]
        self._parts.append(
            scale_folds(SaliencyMaps(fold.test, labels, labels, maps, np.full(len(labels), fold.number)))
        )
        if len(self._parts) == self.folds:
            whole = join_folds(self._parts)
            pairs = combinations(range(classes), 2)
            self.found.append(np.stack([regional_t([whole], pair, self.regions, self.indices) for pair in pairs]))
            self._parts.clear()


def region_p(
    observed: NDArray[np.float64], null: NDArray[np.float64], *, two_sided: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Set regions (R,) against what was found in them with each permutation of the labels, (P, R).

    Returns p and p_fwe, (R,): (1 + permutations that reach as much) / (1 + P), in the same region, and in any region
    (Westfall and Young's largest value: corrected for all regions); NaN where nothing was observed. Two-sided, values
    below zero count as much as those above.
    """
    if two_sided:
        observed, null = np.abs(observed), np.abs(null)
    there = ~np.isnan(observed)
    p, p_fwe = np.full(observed.shape, np.nan), np.full(observed.shape, np.nan)
    kept = null[:, there]
    p[there] = (1 + (kept >= observed[there]).sum(axis=0)) / (1 + len(null))
    p_fwe[there] = (1 + (kept.max(axis=1)[:, None] >= observed[there]).sum(axis=0)) / (1 + len(null))
    return p, p_fwe
