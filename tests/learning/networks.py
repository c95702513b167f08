"""Small inputs for the tests of networks, and what several of those tests build."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from migxai.config import Learning
from migxai.learning.backbone import Backbone
from migxai.learning.backbones import find_split
from migxai.learning.feature_store import FeatureSpec, FeatureStore, extract_subject, make_feature_spec
from migxai.learning.slices import SliceGeometry, plan_slices
from migxai.learning.weights import LoadedNetwork, load_network, synthetic_images

#: Small enough for tests: random weights, two augmented views, all in 32 bits.
SETTINGS = Learning(weights="random", precision="fp32", augmentations=2, epochs=2, batch_size=4, device="cpu")
SLICES = 2
GRID = (20, 24, 20)
AFFINE = np.diag([9.0, 9.0, 9.0, 1.0])


def settings(**changes: Any) -> Learning:
    return dataclasses.replace(SETTINGS, **changes)


@functools.cache
def network(name: str) -> LoadedNetwork:
    """Random weights, drawn once for all tests of a module; nothing changes them."""
    return load_network(name, SETTINGS, 0)


@functools.cache
def backbone(name: str, unfreeze: str = "last-conv", precision: str = "fp32") -> Backbone:
    return Backbone(find_split(name, unfreeze), network(name), precision=precision)  # type: ignore[arg-type]


def pictures(count: int) -> torch.Tensor:
    return torch.from_numpy(synthetic_images(count))


def geometry(slices: int = SLICES) -> SliceGeometry:
    brain = np.zeros(GRID, dtype=bool)
    brain[2:-2, 2:-2, 2:-2] = True
    return plan_slices(GRID, AFFINE, brain, axis="axial", count=slices)


def planes(subjects: int, slices: int = SLICES, shift: float = 0.0) -> NDArray[np.float32]:
    """Slices of so many subjects, (n, S, H0, W0); every second one is brighter in one place, by `shift`."""
    shape = geometry(slices).planes_shape
    made = np.random.default_rng(0).random((subjects, slices, *shape)) * (1.0 - shift)
    made[1::2, :, 4:8, 4:8] += shift
    return made.astype(np.float32)


def subjects(count: int) -> tuple[str, ...]:
    return tuple(f"ds/sub-{number:02d}" for number in range(count))


def write_store(
    folder: Path, name: str, options: Learning, count: int, *, slices: int = SLICES, shift: float = 0.0
) -> tuple[FeatureStore, FeatureSpec]:
    """Make and open the features of so many subjects."""
    spec = make_feature_spec(name, options, geometry(slices), 0)
    made = backbone(name, options.unfreeze, options.precision)
    hashes = [f"{number:064x}" for number in range(count)]
    for subject, digest, images in zip(subjects(count), hashes, planes(count, slices, shift), strict=True):
        extract_subject(made, images, spec, folder=folder, subject=subject, map_hash=digest)
    return FeatureStore.open(folder, spec.key, hashes, subjects(count)), spec
