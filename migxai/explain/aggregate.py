"""From maps of single people to maps of classes, of the difference between two, and of how folds agree on it.

Maps of different folds come from different models, whose logits may be of any size. So each fold's are divided by their
own mean absolute value before anything is averaged over folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.explain.regions import region_means
from migxai.explain.saliency_maps import Evidence, Maps
from migxai.metrics.types import IntArray


def evened(evidence: Evidence) -> Evidence:
    """Divide each fold's maps by their mean absolute value; maps that are zero throughout stay as they are."""
    maps = np.array(evidence.maps, dtype=np.float32)
    for fold in np.unique(evidence.fold):
        rows = evidence.fold == fold
        size = np.abs(maps[rows]).mean(dtype=np.float64)
        if size > 0:
            maps[rows] /= size
    return Evidence(evidence.places, evidence.labels, evidence.predicted, maps, evidence.fold, evidence.trial)


def class_mean(trials: Sequence[Evidence], label: int, predicted: int | None = None) -> tuple[Maps | None, IntArray]:
    """Average the maps of a class over its people.

    Parameters
    ----------
    trials
        One for each trial, from `evened`.
    label
        The class that people are of.
    predicted
        The class that they were put into, and whose map is averaged (default: their own). Another one than `label`
        gives the misclassified.

    Returns
    -------
    mean
        (V,): each person's mean over the trials in which they were classified so, averaged over people; None if
        nobody was.
    places
        Those people, ascending.
    """
    wanted = label if predicted is None else predicted
    sums: dict[int, list[Maps]] = {}
    for trial in trials:
        chosen = (trial.labels == label) & (trial.predicted == wanted)
        maps = trial.of(wanted)
        for row in np.flatnonzero(chosen).tolist():
            sums.setdefault(int(trial.places[row]), []).append(maps[row])
    if not sums:
        return None, np.empty(0, dtype=np.intp)
    return np.mean([np.mean(maps, axis=0) for maps in sums.values()], axis=0), np.array(sorted(sums), dtype=np.intp)


def person_means(trials: Sequence[Evidence], label: int) -> dict[int, Maps]:
    """Average the map of their own class over trials for each person of a class, by place."""
    of: dict[int, list[Maps]] = {}
    for trial in trials:
        maps = trial.of(label)
        for row in np.flatnonzero(trial.labels == label).tolist():
            of.setdefault(int(trial.places[row]), []).append(maps[row])
    return {place: np.mean(maps, axis=0) for place, maps in sorted(of.items())}


def fold_differences(trials: Sequence[Evidence], pair: tuple[int, int]) -> NDArray[np.float64]:
    """Set two classes' test subjects against each other, fold by fold.

    The mean over the second class of what speaks for it rather than for the first, less the same mean over the first
    class. With HiResCAM, or Grad-CAM of a network that pools its maps by averaging, its sum over a picture is how far
    the model's margins separate the two classes in people it has not seen; so a positive value marks a place whose
    content tells the classes apart, and a negative one a place that misleads.

    Parameters
    ----------
    trials
        One for each trial, from `evened`.
    pair
        Two classes.

    Returns
    -------
    numpy.ndarray
        (K, V), a row for each fold in which both classes were tested.
    """
    rows = []
    for trial in trials:
        favouring = trial.favouring(pair)
        for fold in np.unique(trial.fold):
            first, second = ((trial.fold == fold) & (trial.labels == label) for label in pair)
            if first.any() and second.any():
                rows.append(
                    favouring[second].mean(axis=0, dtype=np.float64) - favouring[first].mean(axis=0, dtype=np.float64)
                )
    width = trials[0].maps.shape[-1] if trials else 0
    return np.stack(rows) if rows else np.empty((0, width))


def difference(trials: Sequence[Evidence], pair: tuple[int, int]) -> NDArray[np.float64] | None:
    """Set two classes against each other over all folds and trials.

    As `fold_differences`, but over all people of a trial at once, so that folds in which one class is not tested (as
    with leave-one-out) count as well; then averaged over trials.

    Returns
    -------
    numpy.ndarray or None
        (V,); None if a class has nobody.
    """
    made = []
    for trial in trials:
        favouring = trial.favouring(pair)
        first, second = (trial.labels == label for label in pair)
        if not first.any() or not second.any():
            return None
        made.append(favouring[second].mean(axis=0, dtype=np.float64) - favouring[first].mean(axis=0, dtype=np.float64))
    return np.mean(made, axis=0) if made else None


def regional_t(
    trials: Sequence[Evidence], pair: tuple[int, int], labels: NDArray[np.integer[Any]], indices: tuple[int, ...]
) -> NDArray[np.float64]:
    """Set two classes against each other in each region, by how far people of one class differ there.

    Welch's t of people's regional means of what speaks for the second class rather than for the first. It ranks
    regions: by the mean difference alone, a few voxels at an uneven edge come before a large region in which all people
    of a class are alike. People tested by one model are not independent, so its p value comes from permuted labels and
    not from the distribution of t.

    Parameters
    ----------
    trials
        One for each trial, from `evened`; people are averaged over trials.
    pair
        Two classes.
    labels
        Region of each voxel, 0 for none, (V,).
    indices
        Labels of the R regions wanted.

    Returns
    -------
    numpy.ndarray
        (R,), NaN for regions that slices hardly show, and everywhere if a class has fewer than two people.
    """
    people: dict[tuple[int, int], list[NDArray[np.float64]]] = {}
    for trial in trials:
        means = region_means(trial.favouring(pair), labels, indices)
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


def agreement(differences: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Say how far folds agree on a difference.

    Parameters
    ----------
    differences
        (K, V), from `fold_differences`.

    Returns
    -------
    share
        Of the folds whose sign is that of their mean, (V,): 0.5 is none, 1 full agreement.
    correlation
        Mean Pearson correlation of all pairs of folds; NaN for fewer than two.
    """
    sign = np.sign(differences.mean(axis=0))
    share = (np.sign(differences) == sign).mean(axis=0)
    return share, mean_correlation(differences)


def mean_correlation(rows: NDArray[np.float64]) -> float:
    """Average Pearson's correlation over all pairs of rows (K, V); NaN for fewer than two that vary."""
    varying = rows[np.ptp(rows, axis=1) > 0] if len(rows) else rows
    if len(varying) < 2:
        return float("nan")
    r: NDArray[np.float64] = np.asarray(np.corrcoef(varying))
    return float(r[np.triu_indices(len(r), k=1)].mean())
