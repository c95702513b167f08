"""Saliency maps of people by models that have not seen them, and what they come to.

From maps of single people to those of classes, of the difference between two classes, and of how folds agree on it.

Maps of different folds come from different models, whose logits may be of any size. So each fold's are divided by their
own mean absolute value before anything is averaged over folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.metrics.types import IntArray

Maps = NDArray[np.floating[Any]]

#: The fields of `SaliencyMaps` with a row for each person.
_BY_PERSON = ("places", "labels", "predicted", "maps", "fold")


@dataclass(frozen=True, eq=False)
class SaliencyMaps:
    """Maps of the test subjects of some folds of one trial.

    Attributes
    ----------
    places
        Which person of the comparison each is, (n,).
    labels, predicted
        Their classes, and those that the model puts them into, (n,).
    maps
        What speaks for each class, at the voxels of a `SliceSpace`: (n, C, V). Of a method that does not depend on the
        class, (n, 1, V).
    fold
        Number of the fold that each was tested in, (n,).
    trial
        Number of the trial.
    """

    places: IntArray
    labels: IntArray
    predicted: IntArray
    maps: Maps
    fold: IntArray
    trial: int = 1

    @property
    def by_class(self) -> bool:
        """Whether maps depend on the class."""
        return bool(self.maps.shape[1] > 1)

    def of(self, label: int) -> Maps:
        """Return each person's map of one class, (n, V): as displayed, what speaks for it and not against it."""
        chosen: Maps = np.clip(self.maps[:, label if self.by_class else 0], 0.0, None)
        return chosen

    def favouring(self, pair: tuple[int, int]) -> Maps:
        """Return what speaks for the second class of a pair rather than for the first, (n, V); see `favouring`."""
        return favouring(self.maps, pair)

    def select(self, rows: NDArray[Any]) -> SaliencyMaps:
        """Return the maps of some people, by their rows or by a mask of rows."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _BY_PERSON})


def favouring(maps: Maps, pair: tuple[int, int]) -> Maps:
    """Return what speaks for the second class of a pair rather than for the first, (n, V), in maps (n, C, V).

    Half the difference of the two classes' maps; of a method that knows no classes, its map as it is.
    """
    return maps[:, 0] if maps.shape[1] == 1 else (maps[:, pair[1]] - maps[:, pair[0]]) / 2


def join_folds(parts: Sequence[SaliencyMaps]) -> SaliencyMaps:
    """Put the folds of one trial together."""
    joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _BY_PERSON}
    return replace(parts[0], **joined)


def scale_folds(saliency: SaliencyMaps) -> SaliencyMaps:
    """Divide each fold's maps by their mean absolute value; maps that are zero throughout stay as they are."""
    maps = np.array(saliency.maps, dtype=np.float32)
    for fold in np.unique(saliency.fold):
        rows = saliency.fold == fold
        size = np.abs(maps[rows]).mean(dtype=np.float64)
        if size > 0:
            maps[rows] /= size
    return replace(saliency, maps=maps)


def class_mean(
    trials: Sequence[SaliencyMaps], label: int, predicted: int | None = None
) -> tuple[Maps | None, IntArray]:
    """Average the maps of a class, over trials and then over its people, (V,); None if there is nobody.

    Counted are the people of the class `label`, in trials in which they were put into the class `predicted`, whose map
    is averaged (default: their own). Another one than `label` gives the misclassified. Also returned are those people's
    places, ascending.
    """
    wanted = label if predicted is None else predicted
    people = _means_by_person(trials, label, wanted, [trial.predicted == wanted for trial in trials])
    if not people:
        return None, np.empty(0, dtype=np.intp)
    return np.mean([*people.values()], axis=0), np.array(sorted(people), dtype=np.intp)


def person_means(trials: Sequence[SaliencyMaps], label: int) -> dict[int, Maps]:
    """Average the map of their own class over trials for each person of a class, by place."""
    people = _means_by_person(trials, label, label, [np.ones(len(trial.places), dtype=bool) for trial in trials])
    return dict(sorted(people.items()))


def _means_by_person(
    trials: Sequence[SaliencyMaps], label: int, shown: int, chosen: Sequence[NDArray[np.bool_]]
) -> dict[int, Maps]:
    """Average the maps of the class `shown` over the trials in which a person of a class is chosen, by place."""
    people: dict[int, list[Maps]] = {}
    for trial, rows in zip(trials, chosen, strict=True):
        maps = trial.of(shown)
        for row in np.flatnonzero((trial.labels == label) & rows).tolist():
            people.setdefault(int(trial.places[row]), []).append(maps[row])
    return {place: np.mean(maps, axis=0) for place, maps in people.items()}


def fold_differences(trials: Sequence[SaliencyMaps], pair: tuple[int, int]) -> NDArray[np.float64]:
    """Set two classes' test subjects against each other, (K, V): a row for each fold in which both were tested.

    The mean over the second class of what speaks for it rather than for the first, less the same mean over the first
    class. With HiResCAM, or Grad-CAM of a network that pools its maps by averaging, its sum over a picture is how far
    the model's margins separate the two classes in people it has not seen; so a positive value marks a place whose
    content tells the classes apart, and a negative one a place that misleads.
    """
    rows = [
        gap
        for trial in trials
        for fold in np.unique(trial.fold)
        if (gap := _gap(trial.select(trial.fold == fold), pair)) is not None
    ]
    return np.stack(rows) if rows else np.empty((0, trials[0].maps.shape[-1] if trials else 0))


def difference(trials: Sequence[SaliencyMaps], pair: tuple[int, int]) -> NDArray[np.float64] | None:
    """Set two classes against each other over all folds and trials, (V,); None if a class has nobody.

    As `fold_differences`, but over all people of a trial at once, so that folds in which one class is not tested (as
    with leave-one-out) count as well; then averaged over trials.
    """
    gaps = [_gap(trial, pair) for trial in trials]
    found = [gap for gap in gaps if gap is not None]
    return np.mean(found, axis=0) if found and len(found) == len(gaps) else None


def _gap(saliency: SaliencyMaps, pair: tuple[int, int]) -> NDArray[np.float64] | None:
    """Set the people of two classes against each other, (V,); None if a class has nobody."""
    maps = saliency.favouring(pair)
    first, second = (maps[saliency.labels == label] for label in pair)
    if not len(first) or not len(second):
        return None
    gap: NDArray[np.float64] = second.mean(axis=0, dtype=np.float64) - first.mean(axis=0, dtype=np.float64)
    return gap


def agreement(differences: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Say how far folds agree on a difference (K, V), from `fold_differences`.

    Returned are the share of folds whose sign is that of their mean, (V,): 0.5 is no agreement, 1 is full agreement;
    and the mean Pearson correlation of all pairs of folds, NaN for fewer than two.
    """
    sign = np.sign(differences.mean(axis=0))
    return (np.sign(differences) == sign).mean(axis=0), mean_correlation(differences)


def mean_correlation(rows: NDArray[np.float64]) -> float:
    """Average Pearson's correlation over all pairs of rows (K, V); NaN for fewer than two that vary."""
    varying = rows[np.ptp(rows, axis=1) > 0] if len(rows) else rows
    if len(varying) < 2:
        return float("nan")
    r: NDArray[np.float64] = np.asarray(np.corrcoef(varying))
    return float(r[np.triu_indices(len(r), k=1)].mean())
