"""What the group level will do, settled before anything that takes long: who, on which maps, in which folds."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
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
from migxai.cohort.maps import (
    PlantedEffect,
    common_grid,
    content_hash,
    covered,
    read_mean_map,
    read_planted_effect,
)
from migxai.config import Config, Learning
from migxai.data import SPACE, Atlas, check_space, load_atlas
from migxai.errors import AtlasError, ImageError, InputError
from migxai.evaluation.results import GroupFolder, write_cohort_statistics
from migxai.explain.methods import METHODS
from migxai.indicators.registry import INDICATORS
from migxai.io import read_tsv, write_json, write_tsv
from migxai.learning.backbones import find_split
from migxai.learning.crossval import unit_seed
from migxai.learning.estimators import baselines, check_models, is_deep
from migxai.learning.feature_store import make_feature_spec
from migxai.learning.persistence import software_versions
from migxai.learning.slices import SliceGeometry, cut, plan_slices, scale_intensity
from migxai.learning.splits import Fold, folds_from_table, folds_to_table, make_folds
from migxai.registration.resample import labels_on_grid
from migxai.registration.space import template_brain
from migxai.signal.maps import covered_means


@dataclass(frozen=True)
class Template:
    """What is the same for everybody: the grid, the template's brain on it, the atlas, and where slices are cut."""

    affine: NDArray[np.float64]
    brain: NDArray[np.bool_]
    atlas: Atlas
    labels: NDArray[np.int32]
    geometry: SliceGeometry


def common_template(
    shape: tuple[int, int, int],
    affine: NDArray[np.float64],
    space: str,
    settings: Learning,
    atlas: Atlas | None = None,
) -> Template:
    """Bring the packaged template and the atlas (by default AAL-116) onto the maps' grid; `space` is named as in BIDS.

    An AtlasError says that the atlas does not fit the space or the grid.
    """
    atlas = atlas or load_atlas()
    check_space(atlas, space)
    brain = template_brain(shape, affine)
    labels = labels_on_grid(atlas.data, atlas.affine, shape, affine)
    if not (labels[brain] > 0).any():
        raise AtlasError(f"The atlas {atlas.name} does not overlap the brain on the maps' grid; check their space.")
    geometry = plan_slices(
        shape, affine, brain, axis=settings.slice_axis, count=settings.slices, range_mm=settings.slice_range
    )
    return Template(affine, brain, atlas, labels, geometry)


@dataclass(frozen=True)
class PreparedMaps:
    """One indicator of all N people; row i is person i.

    `planes` are slices, scaled to 0..1 within each person's own coverage (N, S, H0, W0). `regions` are regional means
    (N, R), NaN where a map covers less than half of a region. `fov` is the share of the template's brain that a map
    covers (N,), of the atlas for an indicator that is painted on it. `hashes` are digests of each person's files.
    """

    planes: NDArray[np.float32]
    regions: NDArray[np.float64]
    fov: NDArray[np.float64]
    hashes: tuple[str, ...]

    def keep(self, rows: NDArray[np.intp]) -> PreparedMaps:
        """Return some people's part."""
        return PreparedMaps(
            self.planes[rows], self.regions[rows], self.fov[rows], tuple(self.hashes[row] for row in rows)
        )


def prepare_maps(indicator: str, people: Sequence[Sequence[Path]], template: Template) -> PreparedMaps:
    """Read the maps of one indicator, and cut, scale and average them over regions; several of one person are averaged.

    An ImageError says which map can't be read or holds no signal.
    """
    regional = indicator in INDICATORS and INDICATORS[indicator].regional
    expected = template.brain & (template.labels > 0) if regional else template.brain
    indices = np.asarray(template.atlas.indices)
    planes, regions, fov = [], [], []
    for paths in people:
        volume = read_mean_map(paths)
        inside = covered(volume)
        # What lies outside the template's brain depends on how a site masks its maps, and on nothing of the brain.
        try:
            scaled = scale_intensity(volume, inside & template.brain)
        except InputError as error:
            raise ImageError(f"{paths[0].name}: {error} Make it anew or leave this person out.") from error
        planes.append(cut(scaled, template.geometry))
        regions.append(covered_means(volume, template.labels, indices, inside)[0])
        fov.append(float((inside & expected).sum() / expected.sum()))
    hashes = tuple(content_hash(paths) for paths in people)
    return PreparedMaps(np.stack(planes), np.stack(regions), np.asarray(fov), hashes)


def nuisance_table(people: pd.DataFrame) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return what a classifier must not have learned from: motion, coverage, age, sex and site.

    Numbers (N, P), NaN where unknown, and the P names; sex and site are one column a value.
    """
    columns: dict[str, NDArray[np.float64]] = {}
    for name in ("mean_fd", "coverage", "age"):
        if name in people:
            columns[name] = pd.to_numeric(people[name], errors="coerce").to_numpy(dtype=np.float64)
    for name in ("sex", "site"):
        if name in people:
            column = people[name].astype("string")
            for value in sorted(column.dropna().unique()):
                known = np.where(column.isna(), np.nan, (column == value).to_numpy(dtype=np.float64, na_value=np.nan))
                columns[f"{name}={value}"] = known
    if not columns:
        return np.empty((len(people), 0)), ()
    return np.column_stack(list(columns.values())), tuple(columns)


@dataclass(frozen=True)
class ComparisonPlan:
    """A comparison with its people and folds.

    `people` are the rows of the cohort that belong to it, ascending (n,), `labels` their classes, 0 to C - 1 (n,).
    Folds hold places in `people`; those of all trials are here.
    """

    comparison: Comparison
    people: NDArray[np.intp]
    labels: NDArray[np.intp]
    folds: tuple[Fold, ...]


@dataclass(frozen=True)
class Plan:
    """Everything that is known before the first model is trained.

    Baselines are the last `models`, `messages` are for the user, and `planted` says where the effect of a simulated
    cohort was planted.
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

    A MigxaiError says that there is nothing to compare, or what of the cohort, the maps or the options does not fit.
    """
    settings = config.learning
    models = check_models((*settings.models, *baselines()))
    own = _own_dataset(config)
    # Only the maps made from bids_dir may take labels from its participants.tsv: sub-01 of another site is another.
    raw = config.run.bids_dir if own is not None and own != config.run.bids_dir else None
    cohort = read_cohort(datasets(config), settings, participants_from=raw, task=config.selection.task_id)
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


def _own_dataset(config: Config) -> Path | None:
    folders = ("sub-*/func", "sub-*/ses-*/func")
    for place in filter(None, (config.run.bids_dir, config.run.output_dir)):
        if any(any(place.glob(f"{folder}/*_boldmap.nii.gz")) for folder in folders):
            return place
    return None


def begin_output(config: Config) -> Path:
    """Make the output a dataset that names where its maps come from, unless it is one; returns its folder."""
    root = config.run.output_dir
    assert root is not None
    if not (root / "dataset_description.json").is_file():
        initialise_output(root, [SourceDataset(name or "maps", place) for name, place in datasets(config)])
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
        messages = [f"folds are those of {settings.folds_file.name}."]
    else:
        folds, messages = make_folds(
            labels,
            [str(site) for site in cohort.people["site"].iloc[people]],
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
    """Write who is in, in which class and which fold, before anything is computed."""
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
