"""Points of ROC and calibration curves, few enough to write down."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from migxai.errors import InputError
from migxai.metrics.types import FloatArray

Array = NDArray[np.float64]


class RocCurve(NamedTuple):
    """Corners of a ROC curve, from (0, 0) to (1, 1); the first threshold is infinite."""

    fpr: Array
    tpr: Array
    threshold: Array


class Calibration(NamedTuple):
    """Mean predicted probability, observed share and rows, of each bin that holds any."""

    predicted: Array
    observed: Array
    n: NDArray[np.int64]


def roc_curve(positive: NDArray[np.bool_], scores: FloatArray, most: int = 200) -> RocCurve:
    """Trace the ROC curve of scores (n,), the higher the more positive.

    Points between two others on one line are left out, then evenly chosen ones until `most` remain: the area is to be
    taken from `migxai.metrics.scores`, not from here.

    Raises
    ------
    InputError
        If all rows, or none, are positive.
    """
    positive = np.asarray(positive, dtype=bool)
    values = np.asarray(scores, dtype=np.float64)
    if positive.all() or not positive.any():
        raise InputError("A ROC curve needs rows of the class and rows of others.")
    order = np.argsort(-values, kind="stable")
    hits, ranked = positive[order], values[order]
    # Rows with one score enter together, which makes the curve slope where they tie.
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    tp = np.append(0, np.cumsum(hits)[last])
    fp = np.append(0, last + 1 - tp[1:])
    bends = np.diff(tp[1:]) * np.diff(fp[:-1]) != np.diff(tp[:-1]) * np.diff(fp[1:])
    kept = np.flatnonzero(np.concatenate([[True], bends, [True]]))
    if len(kept) > most:
        kept = kept[np.round(np.linspace(0, len(kept) - 1, most)).astype(np.intp)]
    thresholds = np.append(np.inf, ranked[last])
    return RocCurve(fp[kept] / fp[-1], tp[kept] / tp[-1], thresholds[kept])


def calibration_points(positive: NDArray[np.bool_], probabilities: FloatArray, bins: int = 10) -> Calibration:
    """Compare a class's probabilities (n,) with how often it is true, in equal-width bins (the first closed)."""
    p = np.asarray(probabilities, dtype=np.float64)
    index = np.clip(np.ceil(p * bins).astype(np.intp) - 1, 0, bins - 1)
    n = np.bincount(index, minlength=bins)
    held = n > 0
    predicted = np.bincount(index, weights=p, minlength=bins)[held] / n[held]
    observed = np.bincount(index, weights=np.asarray(positive, dtype=np.float64), minlength=bins)[held] / n[held]
    return Calibration(predicted, observed, n[held].astype(np.int64))
