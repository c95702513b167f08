"""Where slices of people hold what speaks for each class, by a model that has not seen these people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from migxai.explain.methods import METHODS
from migxai.explain.targets import Target
from migxai.metrics.types import IntArray

if TYPE_CHECKING:
    from migxai.explain.volumes import SliceSpace
    from migxai.learning.heads import Head
    from migxai.learning.store import FeatureStore

Maps = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Evidence:
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
        """Return what speaks for the second class of a pair rather than for the first, (n, V).

        Half the difference of the two classes' maps; of a method that knows no classes, its map as it is.
        """
        if not self.by_class:
            return self.maps[:, 0]
        return (self.maps[:, pair[1]] - self.maps[:, pair[0]]) / 2


def joined(parts: Sequence[Evidence]) -> Evidence:
    """Put the folds of one trial together."""
    names = ("places", "labels", "predicted", "maps", "fold")
    places, labels, predicted, maps, fold = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
    return Evidence(places, labels, predicted, maps, fold, parts[0].trial)


def explain_people(
    head: Head, store: FeatureStore, rows: IntArray, method: str, space: SliceSpace, n_classes: int
) -> NDArray[np.float32]:
    """Make a model's maps of some people.

    Each class's map explains its margin, its logit less the mean of the others': the probabilities of a softmax know
    nothing else.

    Parameters
    ----------
    head
        Trained on others than these people.
    store
        Features of the network that it belongs to.
    rows
        The people, (n,).
    method
        A key of `migxai.explain.methods.METHODS`.
    space
        The voxels that slices show.
    n_classes
        Number of classes, C.

    Returns
    -------
    numpy.ndarray
        (n, C, V), with the sign that the formula gives; (n, 1, V) where the method does not depend on the class.

    Raises
    ------
    UsageError
        If the method does not fit the network.
    """
    from migxai.explain.closed_form import explain_rows, pooled_cells

    found = METHODS[method]

    def at_voxels(target: Target) -> NDArray[np.float32]:
        maps = explain_rows(head, store, rows, method, target)
        return space.rows(maps, pooled_cells(store.split, maps.shape[-1]))

    if not found.by_class:
        return at_voxels(Target())[:, None]
    if found.signed and n_classes == 2:
        # What speaks for the one class speaks against the other.
        first = at_voxels(Target(of=0, margin=True))
        return np.stack([first, -first], axis=1)
    return np.stack([at_voxels(Target(of=label, margin=True)) for label in range(n_classes)], axis=1)
