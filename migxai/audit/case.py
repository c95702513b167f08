"""What the checks of maps are given, and what each of them says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from migxai.config import Learning
from migxai.explain.saliency_maps import Evidence
from migxai.learning.splits import Fold
from migxai.metrics.types import FloatArray, IntArray

if TYPE_CHECKING:
    from migxai.explain.volumes import SliceSpace
    from migxai.learning.backbone import Backbone
    from migxai.learning.heads import Head
    from migxai.learning.store import FeatureStore


@dataclass(frozen=True, eq=False)
class Truth:
    """Where classes truly differ, which is known of a simulated cohort.

    Attributes
    ----------
    voxels
        Whether classes differ there, (V,), in the order of a `SliceSpace`.
    regions
        Region of each voxel, 0 for none, (V,).
    names
        Of the regions, by label.
    planted
        Names of the regions in which they differ.
    """

    voxels: NDArray[np.bool_]
    regions: IntArray
    names: dict[int, str]
    planted: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Case:
    """Maps of one network, indicator and comparison, and everything that they were made from.

    Attributes
    ----------
    of
        What is checked, as people shall read it: comparison, indicator, model and method.
    labels, people
        Class of each person of the comparison, 0 to C - 1, and their row in the store and the slices, (n,).
    folds
        Of the first trial; places among those n.
    heads
        Trained in each of these folds, (K).
    trials
        Maps of each trial, made by `migxai.explain.saliency_maps.explain_people`, so of the last layer, and
        evened by `migxai.explain.aggregate.evened`; the first is that of `folds`.
    store, space
        Features of the network, and the voxels that slices show.
    method
        A key of `migxai.explain.methods.METHODS`.
    classes
        Names of the C classes.
    settings
        All options that the network was trained with.
    seed
        Of everything that the checks draw.
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
    trials: Sequence[Evidence]
    store: FeatureStore
    space: SliceSpace
    method: str
    classes: Sequence[str]
    settings: Learning
    seed: int
    planes: FloatArray | None = field(default=None, repr=False)
    backbone: Backbone | None = None
    truth: Truth | None = None

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


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes
    ----------
    name
        What is checked.
    of
        Of what: comparison, indicator, model and method.
    value
        What was found, in words.
    number
        The same as a number; NaN where there is none.
    limit
        What it should be; fixed before anything was measured.
    passed
        None where the check could not be made, or is shown only.
    detail
        What it means, and what was left out.
    """

    name: str
    of: str
    value: str = ""
    number: float = math.nan
    limit: str = ""
    passed: bool | None = None
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        number = self.number if math.isfinite(self.number) else None
        return {
            "name": self.name,
            "of": self.of,
            "value": self.value,
            "number": number,
            "limit": self.limit,
            "passed": self.passed,
            "detail": self.detail,
        }
