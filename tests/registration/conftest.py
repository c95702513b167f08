"""Phantoms with known truth for the registration layer."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import ndimage

from migxai.registration.normalise import Brain
from migxai.registration.space import Affine, Chain, Field, Volume


@pytest.fixture(scope="session")
def bench() -> ModuleType:
    """The benchmark script, whose synthetic run the tests share."""
    path = Path(__file__).parents[1] / "benchmarks" / "bench_realign.py"
    spec = importlib.util.spec_from_file_location("bench_realign", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_template(name: str) -> Volume:
    import nibabel

    from migxai.data import template

    image = nibabel.load(template(name))
    return Volume(np.asarray(image.dataobj, dtype=np.float32), image.affine)


@pytest.fixture(scope="session")
def template_brain() -> Brain:
    return Brain(load_template("T1w"), load_template("mask"))


def smooth_anatomy(seed: int, millimetres: float = 4.0) -> Chain:
    """Map from template points to a head's points: a tilt, a scaling, a smooth deformation."""
    rng = np.random.default_rng(seed)
    affine = np.diag([8.0, 8.0, 8.0, 1.0])
    affine[:3, 3] = -104, -140, -88
    noise = rng.standard_normal((27, 31, 27, 3))
    field = np.stack([ndimage.gaussian_filter(noise[..., axis], 2.0) for axis in range(3)], axis=-1)
    field *= millimetres / np.sqrt((field**2).sum(axis=-1)).max()
    from migxai.registration.space import rigid_matrix

    move = rigid_matrix(np.array([4.0, -9.0, 12.0, 0.12, -0.04, 0.05])) @ np.diag([1.04, 0.96, 1.02, 1.0])
    return Chain((Field(field.astype(np.float32), affine), Affine(move)))
