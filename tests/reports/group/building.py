"""A small group folder as the group level leaves it, made without training anything, and maps to explain it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from migxai.config import Learning
from migxai.data import load_atlas
from migxai.evaluation.results import GroupFolder, write_cohort_statistics, write_predictions, write_scores
from migxai.group.score import TestedFold, prediction_tables
from migxai.io import write_json, write_nifti, write_tsv
from migxai.reports.group.explained_maps import ExplainedMap, Kind

CLASSES = ("HC", "Migraine")
COMPARISON = "hc_vs_migraine"
DATASET = "site A"
#: The 3 mm MNI grid, first axis to the left as ABIDE's.
SHAPE = (61, 73, 61)
AFFINE = np.array([[-3.0, 0, 0, 90], [0, 3, 0, -126], [0, 0, 3, -72], [0, 0, 0, 1]])
PRECUNEUS = (-9.0, -57.0, 45.0)


def make_group(
    output: Path, *, people: int = 24, skill: float = 1.5, models: Sequence[str] = ("googlenet", "svm")
) -> GroupFolder:
    """Write cohort, folds' predictions and scores; the higher `skill`, the better the classes are told apart."""
    folder = GroupFolder.of(output)
    output.mkdir(parents=True, exist_ok=True)
    write_json(
        output / "dataset_description.json", {"Name": f"migxai derivatives of {DATASET}", "BIDSVersion": "1.10.0"}
    )
    labels = np.arange(people) % 2
    names = [f"sub-{number:02d}" for number in range(people)]
    _write_cohort(folder, names, labels)
    content = {
        "Comparisons": {COMPARISON: list(CLASSES)},
        "CrossValidation": "kfold",
        "Seed": 1,
        "Options": dataclasses.asdict(Learning(bootstraps=50, trials=2, folds=2, weights="random")),
        "State": "complete",
        "Failures": [],
        "Models": [*models, "majority", "nuisance"],
        "Indicators": {"reho": {}},
        "Atlas": "AAL",
        "Messages": ["A message <of> the run."],
        "GeneratedBy": {"Name": "migxai", "Version": "0.1.0"},
    }
    write_json(folder.description, content)
    write_predictions(folder, *prediction_tables(_folds(names, labels, skill, models), "mean"))
    write_scores(folder, content)
    return folder


def _write_cohort(folder: GroupFolder, names: list[str], labels: np.ndarray) -> None:
    groups = [CLASSES[label] for label in labels]
    people = pd.DataFrame({"participant_id": names, "group": groups, "site": "A", "age": np.arange(len(names)) + 20.0})
    cohort = people.assign(dataset=DATASET, included="yes", reason="n/a")
    gone = {"participant_id": "sub-99", "group": "HC", "site": "A", "dataset": DATASET, "included": "no"}
    cohort = pd.concat([cohort, pd.DataFrame([{**gone, "reason": "the head moved by 2.6 mm & more"}])])
    write_tsv(folder.file("cohort.tsv"), cohort)
    counts = [int((labels == label).sum()) for label in range(2)]
    rows = [
        {"class": name, "A": n, "all": n, "smallest_test": n // 2, "smallest_train": n // 2}
        for name, n in zip(CLASSES, counts, strict=True)
    ]
    write_tsv(folder.file("classes.tsv"), pd.DataFrame(rows).assign(comparison=COMPARISON))
    write_cohort_statistics(folder, people, list(CLASSES), 0)


def _folds(names: list[str], labels: np.ndarray, skill: float, models: Sequence[str]) -> list[TestedFold]:
    rng = np.random.default_rng(0)
    folds = []
    for model in (*models, "majority", "nuisance"):
        slices = 3 if model == "googlenet" else 1
        power = skill if model in models else 0.0
        for trial in (1, 2):
            for fold in (1, 2):
                rows = np.flatnonzero((np.arange(len(names)) // 2 + trial) % 2 == fold - 1)
                value = power * (2 * labels[rows] - 1) + (model != "majority") * rng.normal(size=len(rows))
                p = np.repeat(1 / (1 + np.exp(-value))[:, None], slices, axis=1)
                folds.append(
                    TestedFold(
                        comparison=COMPARISON,
                        indicator="reho",
                        model=model,
                        trial=trial,
                        fold=fold,
                        classes=CLASSES,
                        subjects=tuple(f"{DATASET}/{names[row]}" for row in rows),
                        labels=labels[rows],
                        probabilities=np.stack([1 - p, p], axis=-1),
                    )
                )
    return folds


def blob(centre: Sequence[float], width: float = 12.0) -> np.ndarray:
    """Return a Gaussian of height 1 on the grid, zero where it is small."""
    world = np.tensordot(AFFINE[:3, :3], np.indices(SHAPE), axes=1) + AFFINE[:3, 3][:, None, None, None]
    squares = ((world - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0)
    value = np.exp(-squares / (2 * width**2))
    return np.where(value > 0.02, value, 0.0).astype(np.float32)


def write_map(folder: GroupFolder, name: str, data: np.ndarray, **settings: object) -> ExplainedMap:
    """Write a map with its sidecar into ``group/explain``."""
    base = {"comparison": COMPARISON, "indicator": "reho", "model": "googlenet", "method": "Grad-CAM", "people": 8}
    one = ExplainedMap(folder.file("explain") / f"{name}.nii.gz", **{**base, **settings})  # type: ignore[arg-type]
    write_nifti(one.path, data, AFFINE)
    write_json(one.path.with_name(f"{name}.json"), one.sidecar())
    return one


def write_maps(folder: GroupFolder, classes: Sequence[str] = CLASSES, **settings: object) -> None:
    """Write one map of each kind, the difference largest in the left precuneus, and the table of its regions."""
    here, there = blob(PRECUNEUS), blob((40.0, 30.0, 20.0))
    label = f"{classes[1]} - {classes[0]}"
    kinds: list[tuple[str, Kind, str, np.ndarray]] = [
        ("difference", "difference", label, here - 0.6 * there),
        ("class-0", "class", classes[0], there),
        ("class-1", "class", classes[1], here),
        ("wrong", "misclassified", classes[1], 0.5 * there),
        ("agreement", "agreement", label, np.where(here > 0, 0.5 + 0.5 * here, 0.0)),
    ]
    for name, kind, of, data in kinds:
        write_map(
            folder, name, data, kind=kind, label=of, predicted=classes[0] if kind == "misclassified" else "", **settings
        )
    test = {"model": "none", "method": "t statistic", "kind": "univariate", "label": label, "unit": "t", "people": 24}
    write_map(folder, "test", 4 * here - there, **{**settings, **test})
    write_tsv(folder.file("regions.tsv"), region_rows(here - 0.6 * there, label, **settings))


def region_rows(data: np.ndarray, label: str, **settings: object) -> pd.DataFrame:
    """Return a row for each AAL region, as the group level writes it."""
    atlas = load_atlas()
    moved = np.linalg.inv(np.asarray(atlas.affine)) @ AFFINE
    index = np.round(np.tensordot(moved[:3, :3], np.indices(SHAPE), axes=1) + moved[:3, 3][:, None, None, None]).astype(
        int
    )
    inside = ((index >= 0) & (index < np.reshape(atlas.data.shape, (3, 1, 1, 1)))).all(axis=0)
    labels = np.zeros(SHAPE, dtype=int)
    labels[inside] = np.asarray(atlas.data)[tuple(axis[inside] for axis in index)]
    rows = []
    for code, name in zip(atlas.indices, atlas.names, strict=True):
        places = np.argwhere(labels == code)
        values = data[labels == code]
        if not len(values):
            continue
        peak = np.abs(values).argmax()
        at = AFFINE[:3, :3] @ places[peak] + AFFINE[:3, 3]
        rows.append(
            {
                "comparison": settings.get("comparison", COMPARISON),
                "indicator": "reho",
                "model": "googlenet",
                "method": "Grad-CAM",
                "contrast": label,
                "index": code,
                "region": name,
                "hemisphere": {"L": "left", "R": "right"}.get(name[-1], "both"),
                "n_voxels": len(values),
                "mean": values.mean(),
                "map_t": 10 * values.mean(),
                "peak": values[peak],
                **dict(zip(("peak_x", "peak_y", "peak_z"), at, strict=True)),
                "top_decile": 0.1,
                "fold_agreement": 0.75,
                "p_permuted": "n/a",
                "paper": name.startswith(("Cuneus", "Precuneus", "Frontal_")),
                "t": 2.5,
                "p": 0.02,
                "p_fdr": 0.04 if name.startswith("Precuneus") else 0.4,
            }
        )
    table = pd.DataFrame(rows)
    table["rank"] = table["mean"].abs().rank(ascending=False, method="first").astype(int)
    return table


def write_audit(folder: GroupFolder, *checks: dict[str, object]) -> None:
    folder.file("audit.json").write_text(json.dumps({"checks": list(checks)}))
