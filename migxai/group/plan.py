"""What the group level will do, settled before anything that takes long: who, on which maps, in which folds."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import migxai
from migxai.bids.outputs import SourceDataset, initialise_output
from migxai.cohort.cohort import Cohort, read_cohort
from migxai.cohort.comparisons import Comparison, choose_comparisons
from migxai.cohort.maps import common_grid
from migxai.cohort.truth import PlantedEffect, read_planted_effect
from migxai.config import Config, Learning
from migxai.data import SPACE
from migxai.errors import InputError
from migxai.evaluation.group_folder import GroupFolder, write_cohort_statistics
from migxai.explain.methods import METHODS
from migxai.group.prepare import PreparedMaps, Template, common_template, nuisance_table, prepare_maps
from migxai.io import read_tsv, write_json, write_tsv
from migxai.learning.backbones import find_split
from migxai.learning.crossval import unit_seed
from migxai.learning.estimators import baselines, check_models, is_deep
from migxai.learning.inputs import make_feature_spec
from migxai.learning.persistence import software_versions
from migxai.learning.splits import Fold, folds_from_table, folds_to_table, make_folds


@dataclass(frozen=True)
class ComparisonPlan:
    """A comparison with its people and folds.

    Attributes
    ----------
    comparison
        Its name and classes.
    people
        Rows of the cohort that belong to it, ascending, (n,).
    labels
        Their classes, 0 to C - 1, (n,).
    folds
        Places in `people`, of all trials.
    """

    comparison: Comparison
    people: NDArray[np.intp]
    labels: NDArray[np.intp]
    folds: tuple[Fold, ...]


@dataclass(frozen=True)
class Plan:
    """Everything that is known before the first model is trained.

    Attributes
    ----------
    cohort
        Who is in, who is out, and why.
    template
        The common grid, the brain, the atlas and the slices.
    maps
        The prepared maps of each indicator.
    models
        Names, baselines last.
    comparisons
        Each with its people and folds.
    messages
        What the user should know.
    planted
        Where the effect of a simulated cohort was planted.
    """

    cohort: Cohort
    template: Template
    maps: dict[str, PreparedMaps]
    models: tuple[str, ...]
    comparisons: tuple[ComparisonPlan, ...]
    messages: tuple[str, ...]
    planted: PlantedEffect | None = None


def make_plan(config: Config) -> Plan:
    """Read the cohort and its maps, and divide it into folds.

    Raises
    ------
    MigxaiError
        If there is nothing to compare, or something about the cohort, the maps or the options does not fit.
    """
    settings = config.learning
    models = check_models((*settings.models, *baselines()))
    cohort = _read(config)
    comparisons, messages = choose_comparisons(
        settings.comparisons,
        list(cohort.people["group"]),
        left_out=list(cohort.left_out["group"].dropna()),
        column=settings.label_column,
    )
    # Folds are made twice: what can't be divided is refused before the maps are read, which takes a while.
    for comparison in comparisons:
        _plan_comparison(comparison, cohort, config)
    paths = [path for people in cohort.maps.values() for item in people for path in item]
    shape, affine = common_grid(paths)
    space = cohort.space
    if space is None:
        space, text = SPACE, f"The maps' names have no space-; they are taken to be in {SPACE}."
        messages += (text,)
    template = common_template(shape, affine, space, settings)
    maps = {name: prepare_maps(name, people, template) for name, people in cohort.maps.items()}
    cohort, maps = _covering_enough(cohort, maps, settings.min_fov)
    planned, more = [], list(messages)
    for comparison in comparisons:
        part, said = _plan_comparison(comparison, cohort, config)
        planned.append(part)
        more += [f"{comparison.name}: {text}" for text in said]
    own = _own_dataset(config)
    planted = read_planted_effect(own) if own is not None else None
    return Plan(cohort, template, maps, models, tuple(planned), (*cohort.messages, *more), planted)


def datasets(config: Config) -> list[tuple[str | None, Path]]:
    """Return the datasets of maps, each with the name the user gave it: this run's, then those of other sites.

    ``bids_dir`` is one itself if it holds maps; otherwise the output directory is, which participant level wrote.
    """
    run = config.run
    assert run.bids_dir is not None
    assert run.output_dir is not None
    own = _own_dataset(config)
    found: list[tuple[str | None, Path]] = [(None, own)] if own else []
    found += [(name, place) for name, place in run.derivatives]
    if not found:
        raise InputError(
            f"Neither {run.bids_dir.name} nor {run.output_dir.name} holds indicator maps (*_stat-*_boldmap.nii.gz); "
            "run the participant level first, or name a dataset of maps with -d NAME=PATH."
        )
    return found


def _read(config: Config) -> Cohort:
    own = _own_dataset(config)
    # Only the maps made from bids_dir may take labels from its participants.tsv: sub-01 of another site is another.
    raw = config.run.bids_dir if own is not None and own != config.run.bids_dir else None
    return read_cohort(datasets(config), config.learning, participants_from=raw, task=config.selection.task_id)


def _own_dataset(config: Config) -> Path | None:
    places = (config.run.bids_dir, config.run.output_dir)
    return next((place for place in places if place is not None and _has_maps(place)), None)


def _has_maps(root: Path) -> bool:
    return any(any(root.glob(f"{folder}/*_boldmap.nii.gz")) for folder in ("sub-*/func", "sub-*/ses-*/func"))


def sources(config: Config) -> list[SourceDataset]:
    """Return the datasets that outputs refer to, each under a name."""
    return [SourceDataset(name or "maps", place) for name, place in datasets(config)]


def begin_output(config: Config) -> Path:
    """Make the output a dataset that names where its maps come from, unless it is one; returns its folder."""
    root = config.run.output_dir
    assert root is not None
    if not (root / "dataset_description.json").is_file():
        initialise_output(root, sources(config))
    return root


def _covering_enough(
    cohort: Cohort, maps: dict[str, PreparedMaps], least: float
) -> tuple[Cohort, dict[str, PreparedMaps]]:
    """Leave out people whose maps miss too much of the brain, rather than shrink everybody's to what all share."""
    fov = np.min([item.fov for item in maps.values()], axis=0)
    reasons = {
        key: f"the map covers {share:.0%} of the template's brain, less than --min-fov {least:.0%}"
        for key, share in zip(cohort.people["key"], fov, strict=True)
        if share < least
    }
    rows = np.flatnonzero(fov >= least)
    if not rows.size:
        raise InputError(
            f"No map covers {least:.0%} of the template's brain (the best covers {fov.max():.0%}); lower --min-fov, or "
            "check the maps' space."
        )
    kept = cohort.without(reasons) if reasons else cohort
    kept = dataclasses.replace(kept, people=kept.people.assign(coverage=fov[rows]))
    return kept, {name: item.keep(rows) for name, item in maps.items()}


def _plan_comparison(comparison: Comparison, cohort: Cohort, config: Config) -> tuple[ComparisonPlan, list[str]]:
    settings = config.learning
    people, labels = (np.asarray(item, dtype=np.intp) for item in comparison.members(cohort.people["group"]))
    keys = [str(key) for key in cohort.people["key"].iloc[people]]
    if settings.folds_file is not None:
        table = read_tsv(settings.folds_file)
        rows = [dict(zip(map(str, table), row, strict=True)) for row in table.itertuples(index=False)]
        folds = folds_from_table(rows, keys, labels, comparison.name)
        return ComparisonPlan(comparison, people, labels, tuple(folds)), [
            f"folds are those of {settings.folds_file.name}."
        ]
    sites = [str(site) for site in cohort.people["site"].iloc[people]]
    folds, messages = make_folds(
        labels,
        sites,
        cv=settings.cv,
        folds=settings.folds,
        trials=settings.trials,
        seed=unit_seed(config.random_seed, comparison.name),
        names=comparison.labels,
    )
    return ComparisonPlan(comparison, people, labels, tuple(folds)), messages


def saliency_methods(config: Config, model: str, trial: int = 1) -> list[str]:
    """Return the ways to make maps that were asked for and that fit a model, in the order they were asked for.

    What needs the whole network, minutes for each trial, is made of the first trial alone.
    """
    if not config.explaining.explain or not is_deep(model):
        return []
    split = find_split(model, config.learning.unfreeze)
    return [
        name
        for name in dict.fromkeys(config.explaining.cam)
        if METHODS[name].fits(split) and (trial == 1 or METHODS[name].reads_store(split))
    ]


def checked_method(config: Config, model: str) -> str:
    """Return the way to make maps that a model's checks look at; empty if none is made of its store."""
    methods = saliency_methods(config, model)
    split = find_split(model, config.learning.unfreeze) if methods else None
    return next((name for name in methods if split and METHODS[name].reads_store(split)), "")


def write_plan(folder: GroupFolder, plan: Plan, config: Config) -> None:
    """Write who is in, in which class and which fold, before anything is computed.

    Raises
    ------
    OutputError, ResourceError
        If a file cannot be written.
    """
    comparisons = [part.comparison for part in plan.comparisons]
    cohort = plan.cohort.cohort_table(comparisons)
    coverage = dict(zip(plan.cohort.people["key"], plan.cohort.people["coverage"], strict=True))
    keys = cohort["dataset"] + "/" + cohort["participant_id"]
    write_tsv(folder.file("cohort.tsv"), cohort.assign(coverage=keys.map(coverage)))
    tables = [
        plan.cohort.class_table(item, config.learning.cv, config.learning.folds).assign(comparison=item.name)
        for item in comparisons
    ]
    write_tsv(folder.file("classes.tsv"), pd.concat(tables, ignore_index=True))
    keys = plan.cohort.people["key"]
    rows = [
        row
        for part in plan.comparisons
        for row in folds_to_table(part.folds, list(keys.iloc[part.people]), part.comparison.name)
    ]
    write_tsv(folder.file("folds.tsv"), pd.DataFrame(rows))
    groups = list(dict.fromkeys(group for item in comparisons for _, names in item.classes for group in names))
    write_cohort_statistics(folder, plan.cohort.people.drop(columns="key"), groups, config.random_seed)
    write_json(folder.description, _description(plan, config) | {"State": "running", "Failures": []})


def _description(plan: Plan, config: Config) -> dict[str, Any]:
    options = {item.name: getattr(config.learning, item.name) for item in dataclasses.fields(Learning)}
    # Paths belong to the machine; what they hold is named by its hash in the models' cards.
    plain = {name: "file" if isinstance(value, Path) else value for name, value in options.items()}
    return {
        "Description": "What the group level compared, and how.",
        "Comparisons": {part.comparison.name: list(part.comparison.labels) for part in plan.comparisons},
        "Groups": {part.comparison.name: dict(part.comparison.classes) for part in plan.comparisons},
        "Indicators": {name: dict(plan.cohort.definitions[name]) for name in plan.maps},
        "Models": list(plan.models),
        "Space": plan.cohort.space,
        "Resolution": plan.cohort.res,
        "Atlas": plan.template.atlas.name,
        "Slices": plan.template.geometry.to_dict(),
        "People": len(plan.cohort.people),
        "LeftOut": len(plan.cohort.left_out),
        "CrossValidation": config.learning.cv,
        "Seed": config.random_seed,
        "Options": plain,
        "Messages": list(plan.messages),
        "GeneratedBy": {"Name": "migxai", "Version": migxai.__version__},
    }


def work_folder(config: Config, plan: Plan) -> Path:
    """Return a folder whose name says what is computed, so that a resumed run finds what it has made and no other."""
    work_dir = config.run.work_dir or Path(str(config.run.output_dir)) / ".work"
    folds = [[(fold.trial, fold.number, fold.test.tolist()) for fold in part.folds] for part in plan.comparisons]
    networks = [
        make_feature_spec(model, config.learning, plan.template.geometry, config.random_seed).key
        for model in plan.models
        if is_deep(model)
    ]
    content = {
        "versions": software_versions(bool(networks)),
        "seed": config.random_seed,
        "options": {key: str(value) for key, value in dataclasses.asdict(config.learning).items()},
        "people": list(plan.cohort.people["key"]),
        "nuisance": [nuisance_table(plan.cohort.people)[0].tolist(), *plan.cohort.people["site"]],
        "maps": {name: maps.hashes for name, maps in plan.maps.items()},
        "tasks": [(part.comparison.text, part.people.tolist(), part.labels.tolist()) for part in plan.comparisons],
        "folds": folds,
        "networks": networks,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return work_dir / "group" / digest[:12]
