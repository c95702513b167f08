"""What the group level will do, settled before anything that takes long: who, on which maps, in which folds."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from migxai.bids.outputs import SourceDataset
from migxai.cohort.cohort import Cohort, read_cohort
from migxai.cohort.comparisons import Comparison, choose_comparisons
from migxai.cohort.maps import common_grid
from migxai.cohort.truth import PlantedEffect, read_planted_effect
from migxai.config import Config
from migxai.data import SPACE
from migxai.errors import InputError
from migxai.group.maps import PreparedMaps, Template, common_template, prepare_maps
from migxai.io import read_tsv
from migxai.learning.crossval import unit_seed
from migxai.learning.estimators import baselines, check_models
from migxai.learning.splits import Fold, folds_from_table, make_folds


@dataclass(frozen=True)
class Task:
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
    roster
        Who is in, who is out, and why.
    template
        The common grid, the brain, the atlas and the slices.
    maps
        The prepared maps of each indicator.
    models
        Names, baselines last.
    tasks
        The comparisons.
    messages
        What the user should know.
    planted
        Where the effect of a simulated cohort was planted.
    """

    roster: Cohort
    template: Template
    maps: dict[str, PreparedMaps]
    models: tuple[str, ...]
    tasks: tuple[Task, ...]
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
    roster = _read(config)
    comparisons, messages = choose_comparisons(
        settings.comparisons,
        list(roster.people["group"]),
        left_out=list(roster.left_out["group"].dropna()),
        column=settings.label_column,
    )
    # Folds are made twice: what can't be divided is refused before the maps are read, which takes a while.
    for comparison in comparisons:
        _make_task(comparison, roster, config)
    paths = [path for people in roster.maps.values() for item in people for path in item]
    shape, affine = common_grid(paths)
    space = roster.space
    if space is None:
        space, text = SPACE, f"The maps' names have no space-; they are taken to be in {SPACE}."
        messages += (text,)
    template = common_template(shape, affine, space, settings)
    maps = {name: prepare_maps(name, people, template) for name, people in roster.maps.items()}
    roster, maps = _covering_enough(roster, maps, settings.min_fov)
    tasks, more = [], list(messages)
    for comparison in comparisons:
        task, said = _make_task(comparison, roster, config)
        tasks.append(task)
        more += [f"{comparison.name}: {text}" for text in said]
    own = _own_dataset(config)
    planted = read_planted_effect(own) if own is not None else None
    return Plan(roster, template, maps, models, tuple(tasks), (*roster.messages, *more), planted)


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


def _covering_enough(
    roster: Cohort, maps: dict[str, PreparedMaps], least: float
) -> tuple[Cohort, dict[str, PreparedMaps]]:
    """Leave out people whose maps miss too much of the brain, rather than shrink everybody's to what all share."""
    fov = np.min([item.fov for item in maps.values()], axis=0)
    reasons = {
        key: f"the map covers {share:.0%} of the template's brain, less than --min-fov {least:.0%}"
        for key, share in zip(roster.people["key"], fov, strict=True)
        if share < least
    }
    rows = np.flatnonzero(fov >= least)
    if not rows.size:
        raise InputError(
            f"No map covers {least:.0%} of the template's brain (the best covers {fov.max():.0%}); lower --min-fov, or "
            "check the maps' space."
        )
    kept = roster.without(reasons) if reasons else roster
    kept = dataclasses.replace(kept, people=kept.people.assign(coverage=fov[rows]))
    return kept, {name: item.keep(rows) for name, item in maps.items()}


def _make_task(comparison: Comparison, roster: Cohort, config: Config) -> tuple[Task, list[str]]:
    settings = config.learning
    people, labels = (np.asarray(item, dtype=np.intp) for item in comparison.members(roster.people["group"]))
    keys = [str(key) for key in roster.people["key"].iloc[people]]
    if settings.folds_file is not None:
        table = read_tsv(settings.folds_file)
        rows = [dict(zip(map(str, table), row, strict=True)) for row in table.itertuples(index=False)]
        folds = folds_from_table(rows, keys, labels, comparison.name)
        return Task(comparison, people, labels, tuple(folds)), [f"folds are those of {settings.folds_file.name}."]
    sites = [str(site) for site in roster.people["site"].iloc[people]]
    folds, messages = make_folds(
        labels,
        sites,
        cv=settings.cv,
        folds=settings.folds,
        trials=settings.trials,
        seed=unit_seed(config.random_seed, comparison.name),
        names=comparison.labels,
    )
    return Task(comparison, people, labels, tuple(folds)), messages


def nuisance_table(people: pd.DataFrame) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return what a classifier must not have learned from: motion, coverage, age, sex and site.

    Returns
    -------
    tuple
        Numbers (N, P), NaN where unknown, and the P names; sex and site as one column a value.
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
