"""Curves with bands from resampled subjects: ROC, calibration, and how an interval narrows with more people."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from migxai.evaluation.predictions import PredictionSet
from migxai.metrics.intervals import resample_groups

Array = NDArray[np.float64]

#: Resamples of subjects behind a band. Its edges move by less than a line's width from here to 2000.
RESAMPLES = 1000
#: False positive rates at which curves are averaged.
GRID: Array = np.linspace(0.0, 1.0, 101)
#: Two-sided 95 % point of the normal distribution.
Z = 1.959963984540054


class Band(NamedTuple):
    """A curve and its pointwise 95 % band, at `GRID` or at the points given."""

    x: Array
    middle: Array
    low: Array
    high: Array


def roc_band(unit: PredictionSet, positive: int, *, seed: int, resamples: int = RESAMPLES) -> Band | None:
    """Trace the ROC curve of a class against the rest, mean over trials, with a band from resampled subjects.

    Subjects are drawn with replacement within their classes; all trials of a subject are drawn together. At each false
    positive rate the band spans the 2.5th to 97.5th percentile of the resampled curves (vertical averaging; Fawcett
    2006, doi:10.1016/j.patrec.2005.10.010).

    Parameters
    ----------
    unit
        Predictions.
    positive
        Place of the class.
    seed
        Of the resamples.
    resamples
        How many.

    Returns
    -------
    Band or None
        None if a trial lacks people of the class, or others.
    """
    weights = resample_groups(unit.subject_classes(), resamples=resamples, seed=seed)
    points, curves = [], []
    for trial in range(len(unit.trials)):
        rows = np.flatnonzero(unit.trial == trial)
        truth = unit.y[rows] == positive
        if truth.all() or not truth.any():
            return None
        order = np.argsort(-unit.p[rows, positive], kind="stable")
        scores = unit.p[rows[order], positive]
        # Rows of one score enter together: the curve slopes where they tie.
        last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
        drawn = np.vstack([np.ones(len(rows)), weights[:, unit.subject[rows[order]]]])
        rates = [_rate(drawn * chosen, last) for chosen in (~truth[order], truth[order])]
        tpr = np.array([np.interp(GRID, fpr, hits) for fpr, hits in zip(*rates, strict=True)])
        points.append(tpr[0])
        curves.append(tpr[1:])
    low, high = np.quantile(np.mean(curves, axis=0), [0.025, 0.975], axis=0)
    return Band(GRID, np.mean(points, axis=0), low, high)


def _rate(counts: Array, last: NDArray[np.intp]) -> Array:
    """Return cumulated shares at the ends of runs of ties, from 0 to 1; (B, runs + 1)."""
    sums = np.cumsum(counts, axis=1)
    # Resampling within classes keeps every class's size, so no total is 0.
    shares: Array = np.hstack([np.zeros((len(sums), 1)), sums[:, last] / sums[:, -1:]])
    return shares


def calibration_band(
    unit: PredictionSet, positive: int, *, seed: int, bins: int = 5, resamples: int = RESAMPLES
) -> Band:
    """Compare probabilities of a class with how often it is true, in bins of equal width, with bars from resampling.

    Parameters
    ----------
    unit
        Predictions; those of all trials are taken together.
    positive
        Place of the class.
    seed
        Of the resamples of subjects within classes.
    bins
        Of equal width; few, since people are few.
    resamples
        How many.

    Returns
    -------
    Band
        A point for each bin that holds anybody: mean probability, share of people who are of the class, and the 95 %
        interval of that share (NaN in a bin that more than one resample in twenty leaves empty).
    """
    p, truth = unit.p[:, positive], (unit.y == positive).astype(np.float64)
    index = np.clip(np.ceil(p * bins).astype(np.intp) - 1, 0, bins - 1)
    member = (index[:, None] == np.arange(bins)).astype(np.float64)
    counts = member.sum(axis=0)
    held = counts > 0
    weights = resample_groups(unit.subject_classes(), resamples=resamples, seed=seed)[:, unit.subject]
    drawn, hits = weights @ member[:, held], (weights * truth) @ member[:, held]
    shares = np.divide(hits, drawn, out=np.full_like(hits, np.nan), where=drawn > 0)
    bounds: Array = np.full((2, int(held.sum())), np.nan)
    enough = np.isfinite(shares).mean(axis=0) >= 0.95
    bounds[:, enough] = np.nanquantile(shares[:, enough], [0.025, 0.975], axis=0)
    return Band((p @ member)[held] / counts[held], (truth @ member)[held] / counts[held], bounds[0], bounds[1])


def half_width(p: float, n: Array | float) -> Array:
    """Half the width of a 95 % interval of a share p seen in n people, z sqrt(p (1 - p) / n); Wald's approximation."""
    width: Array = Z * np.sqrt(p * (1 - p) / np.asarray(n, dtype=np.float64))
    return width


def people_needed(p: float, half: float) -> int:
    """People for a 95 % interval of plus or minus `half` around a share p: z^2 p (1 - p) / half^2, rounded up."""
    return int(np.ceil(Z**2 * p * (1 - p) / half**2 - 1e-9))
