"""Configurations and plans of the group level on made-up maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from migxai.cohort.comparisons import parse_comparison
from migxai.config import Config, Learning, Run
from migxai.group.fit import Experiment
from migxai.group.job import MapArrays, Workspace
from migxai.group.plan import ComparisonPlan
from migxai.learning.slices import plan_slices
from migxai.learning.splits import make_folds

LABELS = ("HC", "MWoA", "MWA", "HC", "MWoA", "HC", "MWA", "HC", "MWoA", "HC", "MWA", "MWoA")


def configure(dataset: Path, output: Path, *, run: dict[str, Any] | None = None, **learning: Any) -> Config:
    """Settings of a run that takes a second or two, without networks."""
    quick = {"models": ("svm",), "indicators": ("reho",), "comparisons": ("hc_vs_migraine",), "slices": 4}
    quick |= {"folds": 2, "trials": 2, "bootstraps": 20, "weights": "random", "augmentations": 0, "epochs": 1}
    return Config(run=Run(dataset, output, **(run or {})), learning=Learning(**(quick | learning)))


def plan_comparison(name: str = "hc_vs_migraine", **more: Any) -> ComparisonPlan:
    """Twelve people at two sites, of whom the comparison takes some."""
    comparison = parse_comparison(name)
    people, labels = (np.asarray(item, dtype=np.intp) for item in comparison.members(LABELS))
    options = {"cv": "kfold", "folds": 2, "trials": 2, "seed": 3} | more
    folds, _ = make_folds(labels, [f"site{row % 2}" for row in people], **options)
    return ComparisonPlan(comparison, people, labels, tuple(folds))


def make_arrays(folder: Path, people: int = len(LABELS), *, seed: int = 0) -> MapArrays:
    """Slices, tables and digests of made-up people, in files as the group level writes them."""
    rng = np.random.default_rng(seed)
    brain = np.zeros((12, 12, 10), dtype=bool)
    brain[1:-1, 1:-1, 1:-1] = True
    geometry = plan_slices(brain.shape, np.diag([3.0, 3.0, 3.0, 1.0]), brain, axis="axial", count=2)
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.where(brain, 1 + np.arange(12)[:, None, None] // 3, 0)
    np.savez(folder / "template.npz", brain=brain, labels=labels, indices=np.arange(1, 5), names=np.array(list("abcd")))
    np.save(folder / "planes.npy", rng.random((people, 2, *geometry.planes_shape), dtype=np.float32))
    regions, nuisance = rng.standard_normal((people, 5)), rng.standard_normal((people, 2))
    np.savez(folder / "tables.npz", regions=regions, nuisance=nuisance, nuisance_names=np.array(["age", "mean_fd"]))
    keys = tuple(f"made/sub-{number:02d}" for number in range(1, people + 1))
    return MapArrays(
        indicator="reho",
        planes=folder / "planes.npy",
        tables=folder / "tables.npz",
        subjects=keys,
        sites=tuple(f"site{row % 2}" for row in range(people)),
        hashes=tuple(f"{seed:08x}{row:08x}" for row in range(people)),
        geometry=geometry,
        template=folder / "template.npz",
        features=folder / "features",
    )


def make_workspace(arrays: MapArrays, settings: Learning, *, seed: int = 0, folds: Path | None = None) -> Workspace:
    """What all jobs share, with the maps of one indicator."""
    return Workspace(settings, seed, {arrays.indicator: arrays}, folds or arrays.features.parent / "folds")


def make_experiment(
    model: str = "svm", trial: int | None = 1, keep: bool = True, name: str = "mwoa_vs_mwa"
) -> Experiment:
    """One trial of a model on made-up ReHo maps, or the final model."""
    planned = plan_comparison(name)
    return Experiment(
        model=model,
        indicator="reho",
        comparison=name,
        classes=planned.comparison.labels,
        people=tuple(planned.people.tolist()),
        labels=tuple(planned.labels.tolist()),
        folds=None if trial is None else tuple(fold for fold in planned.folds if fold.trial == trial),
        keep=keep,
    )


def sketch_plan(
    arrays: MapArrays | None = None,
    *,
    models: Sequence[str] = ("svm", "googlenet", "majority", "nuisance"),
    comparisons: Sequence[ComparisonPlan] = (),
    indicators: Sequence[str] = ("alff", "reho"),
) -> Any:
    """The parts of a plan that jobs and networks depend on."""
    keys = arrays.subjects if arrays else ()
    return SimpleNamespace(
        maps={name: SimpleNamespace(hashes=arrays.hashes if arrays else ()) for name in indicators},
        models=models,
        comparisons=comparisons or (plan_comparison(), plan_comparison("mwoa_vs_mwa")),
        template=SimpleNamespace(geometry=arrays.geometry if arrays else None),
        cohort=SimpleNamespace(people=pd.DataFrame({"key": keys})),
    )
