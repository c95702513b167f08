"""Cases for the checks of maps: GoogLeNet's head on the features of a frozen part that is quick, and people made up.

The frozen part averages pictures over 7 x 7 cells and gives each of its channels a random slope and threshold. So what
it sees of a place is known, heads and maps are the real ones, and training takes a second.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from migxai.audit.audited_maps import AuditedMaps, GroundTruth
from migxai.config import Learning
from migxai.explain.explainers import explain_people
from migxai.explain.methods import METHODS, CamMethod
from migxai.explain.saliency_maps import SaliencyMaps, join_folds, scale_folds
from migxai.explain.volumes import SliceSpace
from migxai.learning.backbones import find_split, make_head
from migxai.learning.family import HALF
from migxai.learning.slices import cut, stack, to_pixels
from migxai.learning.splits import Fold, make_folds
from migxai.learning.training import Schedule, predict_head, train_head
from tests.learning import networks

SETTINGS = Learning(
    weights="random", precision="fp32", augmentations=0, epochs=8, learning_rate=1e-2, batch_size=16, device="cpu"
)
CLASSES = ("HC", "MWoA", "MWA")
SLICES = 3
#: Rows and columns in which people of other classes than the first are brighter.
PLANTED = (slice(4, 9), slice(4, 9))


class Network:
    """A frozen part: takes the place of a `Backbone`."""

    normalisation = HALF
    precision = "fp32"

    def __init__(self, unfreeze: str) -> None:
        self.split = find_split("googlenet", unfreeze)
        drawn = np.random.default_rng(0).normal(size=(2, 1728, 1, 1))
        self.slope, self.start = (torch.from_numpy(one).float() for one in drawn)

    def features(self, images: torch.Tensor, *, clean: bool = False) -> dict[str, torch.Tensor]:
        cells = functional.adaptive_avg_pool2d(images, 7)
        maps = functional.relu((2 * cells - 1) * self.slope + 0.3 * self.start).permute(0, 2, 3, 1)
        made = {
            "branch": maps[..., :832],
            "frozen": maps[..., 832:].mean(dim=(1, 2)),
            "frozen_maps": maps[..., 832:],
            "pooled": maps[..., :1024].mean(dim=(1, 2)),
            "maps": maps[..., :1024],
        }
        return {name: made[name] for name in [*self.split.features, *(self.split.clean if clean else ())]}


class Store:
    """Its features of everybody: takes the place of a `FeatureStore`."""

    views = 0

    def __init__(self, network: Network, planes: np.ndarray) -> None:
        self.split = network.split
        self.slices = planes.shape[1]
        geometry = networks.geometry(self.slices)
        pixels = torch.from_numpy(np.stack([to_pixels(one, geometry) for one in planes])).unsqueeze(2)
        made = [network.features(one, clean=True) for one in pixels]
        self._features = {name: torch.stack([one[name] for one in made]) for name in made[0]}

    def batch(self, rows, slices, views):
        return {name: self._features[name][rows, slices] for name in self.split.features}

    def clean(self, rows, slices):
        return {name: held[rows, slices] for name, held in self._features.items()}

    def release(self):
        pass


def detect_edges(activations, gradients):
    """See the picture through the frozen part, and nothing that was learned."""
    seen = activations[:, :896].mean(dim=1, keepdim=True)
    kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    kernels = torch.stack([kernel, kernel.T])[:, None]
    return functional.conv2d(functional.pad(seen, (1, 1, 1, 1), "replicate"), kernels).norm(dim=1)


def see_nothing(activations, gradients):
    return torch.zeros(activations.shape[0], *activations.shape[2:])


EDGES = CamMethod(name="edges", title="Edges", combine=detect_edges, by_class=False)
NOTHING = CamMethod(name="nothing", title="Nothing", combine=see_nothing)


def register(patch: Any, method: CamMethod) -> str:
    """Add a way to make maps for a test; returns its name."""
    patch.setitem(METHODS._entries, method.name, method)
    return method.name


@functools.cache
def space() -> SliceSpace:
    brain = np.zeros(networks.GRID, dtype=bool)
    brain[2:-2, 2:-2, 2:-2] = True
    return SliceSpace(networks.geometry(SLICES), brain)


def pictures(labels: np.ndarray, effect: float) -> np.ndarray:
    """Slices of people, (n, S, H0, W0): a brain that all have in common, noise, and the effect."""
    rng = np.random.default_rng(1)
    shown = cut(space().inside, space().geometry)
    common = rng.random(shown.shape)
    made = 0.35 + 0.2 * common + 0.15 * rng.random((len(labels), *shown.shape))
    made[:, :, *PLANTED] += effect * (labels > 0)[:, None, None, None]
    return (made * shown).astype(np.float32)


def truth() -> GroundTruth:
    geometry = space().geometry
    planes = np.zeros((SLICES, *geometry.planes_shape), dtype=bool)
    planes[:, *PLANTED] = True
    voxels = stack(planes, geometry)[space().inside]
    blocks = np.indices(geometry.shape)[:2] // 4
    regions = (1 + blocks[0] + 8 * blocks[1])[space().inside]
    names = {int(index): f"Region_{index}" for index in np.unique(regions)}
    shares = {name: voxels[regions == index].mean() for index, name in names.items()}
    return GroundTruth(voxels, regions, names, tuple(name for name, share in shares.items() if share > 0.5))


def folds_of(labels: np.ndarray, folds: int, trials: int) -> list[Fold]:
    return make_folds(labels, ["a"] * len(labels), cv="kfold", folds=folds, trials=trials, seed=0)[0]


@functools.cache
def heads_of(
    effect: float, trained: bool, classes: int, people: int, folds: int, trials: int, unfreeze: str
) -> tuple[np.ndarray, np.ndarray, Network, Store, list[Fold], list[Any]]:
    """Make people up and train (or draw) a head for each fold of each trial."""
    labels = np.arange(people) % classes
    network, planes = Network(unfreeze), pictures(labels, effect)
    store, made = Store(network, planes), folds_of(labels, folds, trials)
    heads = []
    for number, fold in enumerate(made):
        head = make_head(network.split, classes, torch.Generator().manual_seed(number)).eval()
        if trained:
            train_head(head, store, fold.train, labels[fold.train], Schedule.of(SETTINGS), number)
        heads.append(head)
    return labels, planes, network, store, made, heads


def make_case(
    *,
    effect: float = 0.3,
    trained: bool = True,
    method: str = "gradcam",
    classes: int = 2,
    people: int = 32,
    folds: int = 4,
    trials: int = 2,
    unfreeze: str = "last-conv",
    **changes: Any,
) -> AuditedMaps:
    """Make a case; `changes` are of its fields."""
    labels, planes, network, store, made, heads = heads_of(effect, trained, classes, people, folds, trials, unfreeze)
    evidences = []
    for trial in range(1, trials + 1):
        parts = []
        for fold, head in zip(made, heads, strict=True):
            if fold.trial == trial:
                maps = explain_people(head, store, fold.test, method, space(), classes)
                predicted = predict_head(head, store, fold.test).mean(axis=1).argmax(axis=1)
                numbers = np.full(len(fold.test), fold.number)
                parts.append(SaliencyMaps(fold.test, labels[fold.test], predicted, maps, numbers, trial))
        evidences.append(scale_folds(join_folds(parts)))
    case = AuditedMaps(
        of=f"HC against migraine: GoogLeNet, {method}",
        labels=labels,
        people=np.arange(people),
        folds=[fold for fold in made if fold.trial == 1],
        heads=heads[:folds],
        trials=evidences,
        store=store,
        space=space(),
        method=method,
        classes=CLASSES[:classes],
        settings=dataclasses.replace(SETTINGS, unfreeze=unfreeze),
        seed=0,
        planes=planes,
        backbone=network,
        truth=truth(),
    )
    return dataclasses.replace(case, **changes)
