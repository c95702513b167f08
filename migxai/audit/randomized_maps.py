"""Maps by heads with random weights, on some slices, and how similar they are to the true ones."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from migxai.explain.methods import METHODS
from migxai.explain.volumes import to_planes
from migxai.learning.backbones import make_head
from migxai.learning.slices import cut
from migxai.metrics.types import FloatArray, IntArray

if TYPE_CHECKING:
    from migxai.audit.audited_maps import AuditedMaps
    from migxai.explain.receptive_fields import ReceptiveFields
    from migxai.explain.volumes import SliceSpace
    from migxai.learning.heads import Features, Head

#: Slices on which maps are made anew, spread over those there are: enough for a pattern, a third of the work.
SLICES = 10
#: Maps with a rank correlation above this are much the same: they share half of their variance (0.7 squared).
SAME = 0.7


@dataclass(frozen=True, eq=False)
class SliceChoice:
    """Some of the slices, and what they show.

    Attributes
    ----------
    slices
        Their numbers, (s,).
    shown
        Which pixels of their planes are voxels, (s, H0, W0).
    voxels
        Where those lie among the voxels of the `SliceSpace`, (v,), in the order of ``planes[shown]``.
    """

    slices: IntArray
    shown: NDArray[np.bool_]
    voxels: IntArray


def choose_slices(space: SliceSpace, slices: IntArray | None = None) -> SliceChoice:
    """Choose slices (default: `SLICES`, spread evenly over those there are)."""
    count = len(space.geometry.indices)
    if slices is None:
        slices = np.unique(np.linspace(0, count - 1, min(SLICES, count)).round().astype(int))
    numbers = np.full(space.geometry.shape, -1, dtype=np.intp)
    numbers[space.inside] = np.arange(space.inside.sum())
    places = cut(numbers, space.geometry)[slices]
    return SliceChoice(slices, places >= 0, places[places >= 0])


def explain_slices(head: Head, audited: AuditedMaps, rows: IntArray, choice: SliceChoice) -> NDArray[np.float32]:
    """Make a head's maps of some people, as `migxai.explain.closed_form.explain_people`, on some slices only.

    Parameters
    ----------
    head
        The head, in evaluation mode.
    audited
        Whose features and method are used.
    rows
        The people, (n,).
    choice
        The slices.

    Returns
    -------
    numpy.ndarray
        (n, C, v), or (n, 1, v) where the method does not depend on the class.
    """
    of_people = []
    for row in np.asarray(rows).tolist():
        features = audited.store.clean(np.full(len(choice.slices), row), choice.slices)
        of_people.append(explain_features(head, audited, features, choice))
    return np.stack(of_people)


def explain_features(head: Head, audited: AuditedMaps, features: Features, choice: SliceChoice) -> NDArray[np.float32]:
    """Make a head's maps of one person's slices from their features, (C, v) or (1, v)."""
    from migxai.explain.closed_form import explain_classes

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
    """How similarity maps are to those of other models.

    Attributes
    ----------
    signed
        Mean rank correlation over people, classes and models; NaN if no map can be compared. Of a method that does not
        depend on the class, whose sign may be arbitrary, the mean of absolute values.
    absolute
        The same of the maps' absolute values.
    left_out
        Maps that can't be compared, since they are the same everywhere.
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
