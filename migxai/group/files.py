"""What the group level writes before anything is computed: its plan for people to read, and arrays for its nodes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import migxai
from migxai.config import Config, Learning
from migxai.evaluation.group_folder import GroupFolder, write_cohort_statistics
from migxai.group.features import MapArrays
from migxai.group.plan import Plan, nuisance_table
from migxai.io import atomic, write_json, write_tsv
from migxai.learning.cards import software_versions
from migxai.learning.estimators import is_deep
from migxai.learning.splits import folds_to_table
from migxai.learning.store import make_recipe


def write_plan(folder: GroupFolder, plan: Plan, config: Config) -> None:
    """Write who is in, in which class and which fold, before anything is computed.

    Raises
    ------
    OutputError, ResourceError
        If a file cannot be written.
    """
    comparisons = [task.comparison for task in plan.tasks]
    cohort = plan.roster.cohort_table(comparisons)
    coverage = dict(zip(plan.roster.people["key"], plan.roster.people["coverage"], strict=True))
    keys = cohort["dataset"] + "/" + cohort["participant_id"]
    write_tsv(folder.file("cohort.tsv"), cohort.assign(coverage=keys.map(coverage)))
    tables = [
        plan.roster.class_table(item, config.learning.cv, config.learning.folds).assign(comparison=item.name)
        for item in comparisons
    ]
    write_tsv(folder.file("classes.tsv"), pd.concat(tables, ignore_index=True))
    keys = plan.roster.people["key"]
    rows = [
        row
        for task in plan.tasks
        for row in folds_to_table(task.folds, list(keys.iloc[task.people]), task.comparison.name)
    ]
    write_tsv(folder.file("folds.tsv"), pd.DataFrame(rows))
    groups = list(dict.fromkeys(group for item in comparisons for _, names in item.classes for group in names))
    write_cohort_statistics(folder, plan.roster.people.drop(columns="key"), groups, config.random_seed)
    write_json(folder.description, _description(plan, config) | {"State": "running", "Failures": []})


def _description(plan: Plan, config: Config) -> dict[str, Any]:
    options = {item.name: getattr(config.learning, item.name) for item in dataclasses.fields(Learning)}
    # Paths belong to the machine; what they hold is named by its hash in the models' cards.
    plain = {name: "file" if isinstance(value, Path) else value for name, value in options.items()}
    return {
        "Description": "What the group level compared, and how.",
        "Comparisons": {task.comparison.name: list(task.comparison.labels) for task in plan.tasks},
        "Groups": {task.comparison.name: dict(task.comparison.classes) for task in plan.tasks},
        "Indicators": {name: dict(plan.roster.definitions[name]) for name in plan.maps},
        "Models": list(plan.models),
        "Space": plan.roster.space,
        "Resolution": plan.roster.res,
        "Atlas": plan.template.atlas.name,
        "Slices": plan.template.geometry.to_dict(),
        "People": len(plan.roster.people),
        "LeftOut": len(plan.roster.left_out),
        "CrossValidation": config.learning.cv,
        "Seed": config.random_seed,
        "Options": plain,
        "Messages": list(plan.messages),
        "GeneratedBy": {"Name": "migxai", "Version": migxai.__version__},
    }


def work_folder(config: Config, plan: Plan) -> Path:
    """Return a folder whose name says what is computed, so that a resumed run finds what it has made and no other."""
    work_dir = config.run.work_dir or Path(str(config.run.output_dir)) / ".work"
    folds = [[(fold.trial, fold.number, fold.test.tolist()) for fold in task.folds] for task in plan.tasks]
    networks = [
        make_recipe(model, config.learning, plan.template.geometry, config.random_seed).key
        for model in plan.models
        if is_deep(model)
    ]
    content = {
        "versions": software_versions(bool(networks)),
        "seed": config.random_seed,
        "options": {key: str(value) for key, value in dataclasses.asdict(config.learning).items()},
        "people": list(plan.roster.people["key"]),
        "nuisance": [nuisance_table(plan.roster.people)[0].tolist(), *plan.roster.people["site"]],
        "maps": {name: maps.hashes for name, maps in plan.maps.items()},
        "tasks": [(task.comparison.text, task.people.tolist(), task.labels.tolist()) for task in plan.tasks],
        "folds": folds,
        "networks": networks,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return work_dir / "group" / digest[:12]


def keep_arrays(plan: Plan, work: Path, folder: GroupFolder) -> dict[str, MapArrays]:
    """Write what nodes read: slices and regional means of each indicator, and the nuisance variables.

    Raises
    ------
    OutputError, ResourceError
        If a file cannot be written.
    """
    nuisance, names = nuisance_table(plan.roster.people)
    template, space = work / "template.npz", plan.template
    with atomic(template) as stream:
        regions: Any = _names(plan)
        np.savez(stream, brain=space.brain, labels=space.labels, **regions)
    arrays = {}
    for indicator, maps in plan.maps.items():
        planes, tables = work / f"{indicator}_planes.npy", work / f"{indicator}_tables.npz"
        _write_array(planes, maps.planes)
        with atomic(tables) as stream:
            np.savez(stream, regions=maps.regions, nuisance=nuisance, nuisance_names=np.asarray(names, dtype=str))
        arrays[indicator] = MapArrays(
            indicator=indicator,
            planes=str(planes),
            tables=str(tables),
            subjects=tuple(plan.roster.people["key"]),
            sites=tuple(plan.roster.people["site"].astype(str)),
            hashes=maps.hashes,
            geometry=plan.template.geometry,
            template=str(template),
            features=str(folder.features),
        )
    return arrays


def _names(plan: Plan) -> dict[str, NDArray[Any]]:
    """Name the regions, and where an effect was planted if that is known."""
    atlas, planted = plan.template.atlas, plan.planted
    made: dict[str, NDArray[Any]] = {"indices": np.asarray(atlas.indices), "names": np.asarray(atlas.names, dtype=str)}
    if planted is not None and planted.voxels.shape == plan.template.geometry.shape:
        made |= {"planted": planted.voxels, "planted_names": np.asarray(planted.regions, dtype=str)}
    return made


def _write_array(path: Path, array: NDArray[np.float32]) -> None:
    """Write an NPY file; `numpy.save` does not say why it could not."""
    whole = np.ascontiguousarray(array)
    with atomic(path) as stream:
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(whole))
        stream.write(whole.data)
