"""What the checks of maps look at: people's maps, maps by other heads beside them, and how similar the two are.

Checks take a few people of each fold and class, and some of the slices: enough for a pattern, a third of the work.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from migxai.config import Learning
from migxai.explain.methods import METHODS
from migxai.explain.saliency_maps import SaliencyMaps
from migxai.explain.volumes import to_planes
from migxai.learning.backbones import make_head
from migxai.learning.splits import Fold
from migxai.metrics.types import FloatArray, IntArray

if TYPE_CHECKING:
    from migxai.explain.volumes import ReceptiveFields, SliceSpace
    from migxai.learning.backbone import Backbone
    from migxai.learning.feature_store import FeatureStore
    from migxai.learning.heads import Features, Head

#: Slices on which maps are made anew, spread over those there are.
SLICES = 10
#: Maps with a rank correlation above this are much the same: they share half of their variance (0.7 squared).
SAME = 0.7
#: What random heads' maps should come to, in words.
DIFFERENT = f"mean rank correlation under {SAME:g}"


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Where classes truly differ, which is known of a simulated cohort.

    Whether they differ in each voxel, and its region, 0 for none, (V,), in the order of a `SliceSpace`; the names of
    regions by label, and of those in which classes differ.
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
        Maps of each trial, made by `migxai.explain.explainers.explain_people`, so of the last layer, and
        scaled by `migxai.explain.saliency_maps.scale_folds`; the first is that of `folds`.
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
    """Choose up to `count` people, in turn from every fold and class, among those `allowed` (n,), by default all.

    For each fold that someone is chosen from: its place among ``audited.folds`` and the people's places, ascending.
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


@dataclass(frozen=True, eq=False)
class SliceChoice:
    """Some of the slices, and what they show.

    Their numbers (s,), which pixels of their planes are voxels (s, H0, W0), and where those lie among the voxels of the
    `SliceSpace` (v,), in the order of ``planes[shown]``.
    """

    slices: IntArray
    shown: NDArray[np.bool_]
    voxels: IntArray


def choose_slices(space: SliceSpace, slices: IntArray | None = None) -> SliceChoice:
    """Choose slices (default: `SLICES`, spread evenly over those there are)."""
    count = len(space.geometry.indices)
    if slices is None:
        slices = np.unique(np.linspace(0, count - 1, min(SLICES, count)).round().astype(int))
    places = space.order[slices]
    return SliceChoice(slices, places >= 0, places[places >= 0])


def maps_on_slices(audited: AuditedMaps, places: IntArray, choice: SliceChoice) -> FloatArray:
    """Return the maps that are checked, of some people on some slices, (n, C, v)."""
    saliency = audited.trials[0]
    shown: FloatArray = saliency.maps[rows_of(saliency, places)][:, :, choice.voxels]
    return shown


def explain_slices(head: Head, audited: AuditedMaps, rows: IntArray, choice: SliceChoice) -> NDArray[np.float32]:
    """Make a head's maps of some people as `migxai.explain.explainers.explain_people`, on some slices only.

    (n, C, v), or (n, 1, v) where the method does not depend on the class. The head is in evaluation mode.
    """
    of_people = []
    for row in np.asarray(rows).tolist():
        features = audited.store.clean(np.full(len(choice.slices), row), choice.slices)
        of_people.append(explain_features(head, audited, features, choice))
    return np.stack(of_people)


def explain_features(head: Head, audited: AuditedMaps, features: Features, choice: SliceChoice) -> NDArray[np.float32]:
    """Make a head's maps of one person's slices from their features, (C, v) or (1, v)."""
    from migxai.explain.explainers import explain_classes

    def at_voxels(maps: NDArray[np.float32], fields: ReceptiveFields) -> NDArray[np.float32]:
        return to_planes(maps, fields, audited.space.geometry)[choice.shown]

    method, split = METHODS[audited.method], audited.store.split
    return explain_classes(head, features, split, method, len(audited.classes), at_voxels)


def draw_head(audited: AuditedMaps, rng: np.random.Generator) -> Head:
    """Draw the weights of all trained layers anew, as before any training."""
    import torch

    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    return make_head(audited.store.split, len(audited.classes), generator).eval()


def draw_classifier(audited: AuditedMaps, head: Head, rng: np.random.Generator) -> Head:
    """Copy a head and draw the weights of its classifier anew."""
    drawn = copy.deepcopy(head)
    drawn.classifier.load_state_dict(draw_head(audited, rng).classifier.state_dict())
    return drawn


def standard_ranks(maps: FloatArray) -> NDArray[np.float64]:
    """Rank maps (..., v), with mean 0 and length 1, so that products add up to Spearman's correlation.

    A map that is the same everywhere has no ranks: NaN.
    """
    from scipy import stats

    ranks = np.asarray(stats.rankdata(maps, axis=-1), dtype=np.float64)
    ranks -= ranks.mean(axis=-1, keepdims=True)
    length = np.sqrt((ranks**2).sum(axis=-1, keepdims=True))
    np.divide(ranks, length, out=ranks, where=length > 0)
    ranks[length[..., 0] == 0] = np.nan
    return ranks


@dataclass(frozen=True)
class Similarity:
    """How similar maps are to those of other models: mean rank correlation over people, classes and models.

    Of a method that does not depend on the class, whose sign may be arbitrary, `signed` is the mean of absolute values;
    `absolute` is of the maps' absolute values. Both are NaN if no map can be compared. Maps that are the same
    everywhere can't be, and are `left_out`.
    """

    signed: float
    absolute: float
    left_out: int

    @property
    def passed(self) -> bool | None:
        """Whether they are different enough; None if none can be compared."""
        return None if np.isnan(self.signed) else self.signed < SAME

    @property
    def detail(self) -> str:
        """What a reader should know beside the number."""
        left = f" {self.left_out} maps that are the same everywhere are left out." if self.left_out else ""
        return f"Of the maps' absolute values: {self.absolute:.2f}.{left}"


def map_similarity(maps: FloatArray, others: list[FloatArray]) -> Similarity:
    """Set maps (n, C, v) against those that other models make of the same people."""
    signed, absolute = (
        np.stack([(ranks * standard_ranks(change(other))).sum(axis=-1) for other in others])
        for change in (np.asarray, np.abs)
        for ranks in [standard_ranks(change(maps))]
    )
    if maps.shape[1] == 1:
        signed = np.abs(signed)
    there = np.isfinite(signed)
    if not there.any():
        return Similarity(float("nan"), float("nan"), there.size)
    both = absolute[np.isfinite(absolute)]
    return Similarity(
        float(signed[there].mean()), float(both.mean()) if both.size else float("nan"), int((~there).sum())
    )
