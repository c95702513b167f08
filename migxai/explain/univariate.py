"""The plain comparison beside a network's map: whether two groups differ in the indicator itself, place by place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from migxai.metrics.types import IntArray


@dataclass(frozen=True, eq=False)
class GroupTest:
    """A two-sample test at each of R places.

    Attributes
    ----------
    t
        Positive where the second group is higher, (R,); NaN where it can't be tested.
    p, p_fdr
        Two-sided, and corrected for the R places after Benjamini and Hochberg, (R,).
    df
        Degrees of freedom, (R,).
    """

    t: NDArray[np.float64]
    p: NDArray[np.float64]
    p_fdr: NDArray[np.float64]
    df: NDArray[np.float64]


def compare_groups(
    values: NDArray[np.floating[Any]], second: NDArray[np.bool_] | IntArray, sites: Sequence[str] | None = None
) -> GroupTest:
    """Compare two groups at each place by a linear model with a mean for each site.

    With one site it is Student's two-sample t-test.

    Parameters
    ----------
    values
        (n, R), NaN where a person has no value; that person is left out there.
    second
        Whether each person is of the second group, (n,).
    sites
        Of each person; their means are taken out.

    Returns
    -------
    GroupTest
        NaN where a group has fewer than two people, values don't vary, or group and site can't be told apart.
    """
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
