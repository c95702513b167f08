"""How accuracy grows with the people trained on: a fold's training subjects thinned out, its test subjects kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from migxai.config import Learning
from migxai.learning.crossval import run_fold, unit_seed
from migxai.learning.feature_store import ModelInputs
from migxai.learning.splits import Fold
from migxai.metrics.inference import percentile_interval, resample_groups
from migxai.metrics.types import IntArray

#: Shares of the training subjects that are trained on.
SHARES = (0.25, 0.4, 0.55, 0.7, 0.85, 1.0)
#: Times each smaller training set is drawn.
DRAWS = 3
#: People of each class that are trained on at least.
_LEAST = 2


class Point(NamedTuple):
    """Accuracy of the people tested, with n people trained on (mean over folds), and its 95 % interval."""

    n: float
    value: float
    low: float
    high: float


def learning_curve(
    model: str,
    inputs: ModelInputs,
    labels: IntArray,
    folds: Sequence[Fold],
    *,
    classes: Sequence[str],
    settings: Learning,
    seed: int,
    people: IntArray,
) -> list[Point]:
    """Measure accuracy at several sizes of the training set; every fold tests its own people at every size.

    Parameters
    ----------
    model
        A model that `make_estimator` knows; one that is fitted fast, since it is fitted about 16 times a fold.
    inputs, labels, classes, settings, seed, people
        As for `migxai.learning.crossval.run_fold`.
    folds
        The folds of one trial, so that everybody is tested at most once.

    Returns
    -------
    list of Point
        One for each size that differs from the one before. A class keeps its share of the training set, but never
        less than two people (or all, if there are fewer). Intervals resample the people tested, within classes.
    """
    tested = np.concatenate([fold.test for fold in folds])
    weights = resample_groups(labels[tested], resamples=settings.bootstraps, seed=seed)
    points: list[Point] = []
    for share in SHARES:
        right, sizes = [], []
        for draw in range(DRAWS if share < 1 else 1):
            thin = [_thinned(fold, labels, share, unit_seed(seed, "curve", fold.number, draw)) for fold in folds]
            found = [
                run_fold(model, inputs, labels, fold, classes=classes, settings=settings, seed=seed, people=people)
                for fold in thin
            ]
            predicted = [result.probabilities.mean(axis=1).argmax(axis=1) for result in found]
            right.append(np.concatenate(predicted) == labels[tested])
            sizes += [len(fold.train) for fold in thin]
        n = float(np.mean(sizes))
        if points and n <= points[-1].n:
            continue
        hits = np.mean(right, axis=0)
        interval = percentile_interval(weights @ hits / len(tested))
        points.append(Point(n, float(hits.mean()), interval.low, interval.high))
    return points


def _thinned(fold: Fold, labels: IntArray, share: float, seed: int) -> Fold:
    """Keep a share of each class's training subjects."""
    rng = np.random.default_rng(seed)
    kept = []
    for label in np.unique(labels[fold.train]):
        members = fold.train[labels[fold.train] == label]
        size = min(len(members), max(_LEAST, round(share * len(members))))
        kept.append(rng.permutation(members)[:size])
    return Fold(fold.trial, fold.number, np.sort(np.concatenate(kept)), fold.test)
