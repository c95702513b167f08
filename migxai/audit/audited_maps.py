"""What the checks of maps look at, and which people of it: a few of each fold and class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from migxai.config import Learning
from migxai.explain.saliency_maps import SaliencyMaps
from migxai.learning.splits import Fold
from migxai.metrics.types import FloatArray, IntArray

if TYPE_CHECKING:
    from migxai.explain.volumes import SliceSpace
    from migxai.learning.backbone import Backbone
    from migxai.learning.heads import Head
    from migxai.learning.inputs import FeatureStore


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Where classes truly differ, which is known of a simulated cohort.

    Attributes
    ----------
    voxels
        Whether classes differ there, (V,), in the order of a `SliceSpace`.
    regions
        Region of each voxel, 0 for none, (V,).
    names
        Names of the regions, by label.
    planted
        Names of the regions in which classes differ.
    """

    voxels: NDArray[np.bool_]
    regions: IntArray
    names: dict[int, str]
    planted: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class AuditedMaps:
    """Maps of one network, indicator and comparison, and everything that they were made from.

    Attributes
    ----------
    of
        What is checked, as people shall read it: comparison, indicator, model and method.
    labels, people
        Class of each person of the comparison, 0 to C - 1, and their row in the store and the slices, (n,).
    folds
        The folds of the first trial, as places among those n.
    heads
        Trained in each of these folds, (K).
    trials
        Maps of each trial, made by `migxai.explain.closed_form.explain_people`, so of the last layer, and
        scale_folds by `migxai.explain.saliency_maps.scale_folds`; the first is that of `folds`.
    store, space
        Features of the network, and the voxels that slices show.
    method
        A key of `migxai.explain.methods.METHODS`.
    classes
        The names of the C classes.
    settings
        All options that the network was trained with.
    seed
        The seed of everything that the checks draw.
    planes
        Slices of everybody, (N, S, H0, W0), perhaps in a memory map; None if they are not at hand.
    backbone
        The network, for slices that are changed; None if it is not at hand.
    truth
        Where classes truly differ, if that is known.
    """

    of: str
    labels: IntArray
    people: IntArray
    folds: Sequence[Fold]
    heads: Sequence[Head]
    trials: Sequence[SaliencyMaps]
    store: FeatureStore
    space: SliceSpace
    method: str
    classes: Sequence[str]
    settings: Learning
    seed: int
    planes: FloatArray | None = field(default=None, repr=False)
    backbone: Backbone | None = None
    truth: GroundTruth | None = None

    @property
    def pair(self) -> tuple[int, int]:
        """The two classes with most people, ascending: those that are set against each other."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        first, second = sorted(np.argsort(-counts, kind="stable")[:2].tolist())
        return first, second

    @property
    def pretrained(self) -> bool:
        """Whether the network's frozen part has learned anything."""
        return self.settings.weights != "random"

    def generator(self, *names: int) -> np.random.Generator:
        """Return a stream of random numbers of its own for each check."""
        return np.random.default_rng([self.seed, *names])


def choose_people(
    audited: AuditedMaps, count: int, allowed: NDArray[np.bool_] | None = None
) -> list[tuple[int, IntArray]]:
    """Choose people in turn from every fold and class.

    Parameters
    ----------
    audited
        Whose folds they are from.
    count
        How many at the most.
    allowed
        Who may be chosen, (n,) (default: everybody).

    Returns
    -------
    list
        For each fold that someone is chosen from, its place among ``audited.folds`` and the people's places, ascending.
    """
    queues = []
    for number, fold in enumerate(audited.folds):
        tested = [place for place in fold.test.tolist() if allowed is None or allowed[place]]
        of_class = [
            [place for place in tested if audited.labels[place] == label] for label in range(len(audited.classes))
        ]
        # One of each class in turn.
        in_turn = chain.from_iterable(zip_longest(*of_class))
        queues.append([(number, place) for place in in_turn if place is not None])
    # Someone of each fold in turn.
    chosen = [one for one in chain.from_iterable(zip_longest(*queues)) if one is not None][:count]
    return [
        (number, np.array(sorted(place for fold, place in chosen if fold == number), dtype=np.intp))
        for number in sorted({fold for fold, _ in chosen})
    ]


def rows_of(saliency: SaliencyMaps, places: IntArray) -> IntArray:
    """Say which rows of a trial's maps are those of some people."""
    order = np.argsort(saliency.places, kind="stable")
    rows: IntArray = order[np.searchsorted(saliency.places, places, sorter=order)]
    return rows
