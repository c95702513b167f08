"""The workflow of the group level: frozen features once, then a node a model, indicator, comparison and trial."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from migxai.config import Config
from migxai.errors import ResourceError, UsageError
from migxai.group.explain import CheckMaps, Explain, first_method, methods_of
from migxai.group.features import ExtractFeatures, MapArrays
from migxai.group.fit import CrossValidate, Permute, Unit
from migxai.group.plan import Plan
from migxai.io import free_gb
from migxai.learning.estimators import baselines, is_deep
from migxai.learning.store import estimate_bytes, make_recipe

#: People whose features one node makes: minutes of work, so that starting it costs little beside it.
SHARD = 32
#: Permutations of one node, likewise.
PERMUTATIONS = 20
#: Memory of a node that makes features or trains heads, in GB (measured; see docs/design-notes.md).
GB = 1e9
FEATURES_GB, UNIT_GB, BASELINES_GB, MAPS_GB, CHECKS_GB = 2.0, 1.5, 1.0, 1.5, 2.0


def make_units(plan: Plan, config: Config) -> list[Unit]:
    """List the units of all models, indicators, comparisons and trials, and the models of everybody.

    Returns
    -------
    list of Unit
        Deep ones first, each indicator after the other.
    """
    units = []
    for indicator, model, task in itertools.product(plan.maps, plan.models, plan.tasks):
        trials = sorted({fold.trial for fold in task.folds})
        of_trials = [tuple(fold for fold in task.folds if fold.trial == trial) for trial in trials]
        saved = "none" if model in baselines() else config.learning.save_models
        explained = bool(methods_of(config, model))
        everybody = [None] if saved != "none" else []
        units += [
            Unit(
                model=model,
                indicator=indicator,
                comparison=task.comparison.name,
                classes=task.comparison.labels,
                people=tuple(task.people.tolist()),
                labels=tuple(task.labels.tolist()),
                folds=folds,
                keep=saved == "folds" or explained,
            )
            for folds in (*of_trials, *everybody)
        ]
    return sorted(units, key=lambda unit: not is_deep(unit.model))


def init_group_wf(
    config: Config, units: Sequence[Unit], arrays: Mapping[str, MapArrays], folder: str, *, base_dir: str
) -> pe.Workflow:
    """Put the nodes of the group level side by side.

    Parameters
    ----------
    config
        The run's configuration.
    units
        From `make_units`.
    arrays
        Where the prepared maps of each indicator lie.
    folder
        Where results of folds are kept, for whoever resumes.
    base_dir
        nipype's directory.

    Inputs
    ------
    None: nodes read the files that `arrays` names.

    Outputs
    -------
    A file for each fold in `folder`.
    """
    workflow = pe.Workflow(name="group_wf", base_dir=base_dir)
    merged: dict[tuple[str, str], pe.Node] = {}
    explained: dict[str, list[tuple[Unit, pe.Node]]] = {}
    for unit in (unit for unit in units if is_deep(unit.model)):
        key = (unit.model, unit.indicator)
        if key not in merged:
            merged[key] = _features(workflow, config, unit.model, arrays[unit.indicator])
        node = _unit_node(config, [unit], arrays, folder, name=unit.name, mem_gb=UNIT_GB)
        workflow.connect(merged[key], "out", node, "ready")
        methods = methods_of(config, unit.model, trial=unit.folds[0].trial if unit.folds else 0)
        if methods and unit.folds:
            maps = _maps_node(config, unit, arrays[unit.indicator], folder, methods)
            workflow.connect(node, "units", maps, "ready")
            explained.setdefault(unit.cell, []).append((unit, maps))
    if config.explaining.sanity_checks:
        # Of maps that are not made of the store, nothing is checked.
        checked = [trials for trials in explained.values() if first_method(config, trials[0][0].model)]
        for trials in checked:
            _checks(workflow, config, trials, arrays[trials[0][0].indicator], folder)
    cheap = [unit for unit in units if not is_deep(unit.model)]
    if cheap:
        workflow.add_nodes([_unit_node(config, cheap, arrays, folder, name="baselines", mem_gb=BASELINES_GB)])
    for unit in permuted_units(units, config):
        _permutations(workflow, config, unit, arrays[unit.indicator], folder, merged)
    return workflow


def permuted_units(units: Sequence[Unit], config: Config) -> list[Unit]:
    """Choose the units whose cross-validation is repeated with permuted labels: the first trial of each model."""
    if not config.learning.permutations:
        return []
    return [unit for unit in units if unit.folds and unit.folds[0].trial == 1 and unit.model not in baselines()]


def permutation_starts(config: Config) -> range:
    """Return the number of the first permutation of each node."""
    return range(0, config.learning.permutations, PERMUTATIONS)


def _permutations(
    workflow: pe.Workflow,
    config: Config,
    unit: Unit,
    arrays: MapArrays,
    folder: str,
    merged: Mapping[tuple[str, str], pe.Node],
) -> None:
    """Add the nodes that repeat a unit's cross-validation with permuted labels."""
    for first in permutation_starts(config):
        interface = Permute(
            unit=unit,
            arrays=arrays,
            method=first_method(config, unit.model),
            first=first,
            last=min(first + PERMUTATIONS, config.learning.permutations),
            settings=config.learning,
            seed=config.random_seed,
            folder=folder,
        )
        node = pe.Node(interface, name=_allowed(f"{unit.cell}_permutations_{first}"), mem_gb=UNIT_GB, n_procs=1)
        workflow.add_nodes([node])
        if is_deep(unit.model):
            workflow.connect(merged[unit.model, unit.indicator], "out", node, "ready")


def _features(workflow: pe.Workflow, config: Config, model: str, arrays: MapArrays) -> pe.Node:
    """Add the nodes that make one network's features of one indicator; returns the one that waits for all."""
    people = range(len(arrays.subjects))
    shards = [tuple(people[start : start + SHARD]) for start in people[::SHARD]]
    name = f"{model}_{arrays.indicator}"
    merge = pe.Node(niu.Merge(len(shards)), name=_allowed(f"{name}_ready"), run_without_submitting=True)
    for number, rows in enumerate(shards, 1):
        node = pe.Node(
            ExtractFeatures(
                model=model, arrays=arrays, rows=list(rows), settings=config.learning, seed=config.random_seed
            ),
            name=_allowed(f"features_{name}_{number}"),
            mem_gb=FEATURES_GB,
            n_procs=1,
        )
        workflow.connect(node, "store", merge, f"in{number}")
    return merge


def _unit_node(
    config: Config, units: Sequence[Unit], arrays: Mapping[str, MapArrays], folder: str, *, name: str, mem_gb: float
) -> pe.Node:
    needed = {unit.indicator for unit in units}
    interface = CrossValidate(
        units=list(units),
        arrays={indicator: arrays[indicator] for indicator in sorted(needed)},
        settings=config.learning,
        seed=config.random_seed,
        folder=folder,
    )
    return pe.Node(interface, name=_allowed(name), mem_gb=mem_gb, n_procs=1)


def _maps_node(config: Config, unit: Unit, arrays: MapArrays, folder: str, methods: list[str]) -> pe.Node:
    """Make the node that explains everybody who was tested in a unit."""
    interface = Explain(
        unit=unit, arrays=arrays, methods=methods, settings=config.learning, seed=config.random_seed, folder=folder
    )
    return pe.Node(interface, name=_allowed(f"{unit.name}_maps"), mem_gb=MAPS_GB, n_procs=1)


def _checks(
    workflow: pe.Workflow, config: Config, trials: list[tuple[Unit, pe.Node]], arrays: MapArrays, folder: str
) -> None:
    """Add the node that checks whether a network's maps mean anything, once those of all trials are there."""
    units = [unit for unit, _ in trials]
    merge = pe.Node(niu.Merge(len(trials)), name=_allowed(f"{units[0].cell}_maps_ready"), run_without_submitting=True)
    for number, (_, maps) in enumerate(trials, 1):
        workflow.connect(maps, "files", merge, f"in{number}")
    interface = CheckMaps(
        units=units,
        arrays=arrays,
        method=first_method(config, units[0].model),
        settings=config.learning,
        seed=config.random_seed,
        folder=folder,
    )
    node = pe.Node(interface, name=_allowed(f"{units[0].cell}_checks"), mem_gb=CHECKS_GB, n_procs=1)
    workflow.connect(merge, "out", node, "ready")


def _allowed(name: str) -> str:
    """Replace what nipype does not allow in the name of a node."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def _unexplained(plan: Plan, config: Config) -> list[str]:
    """Name the networks of which no maps can be made as asked; refuse if that is all of them."""
    deep = [model for model in plan.models if is_deep(model)]
    without = [model for model in deep if not methods_of(config, model)]
    if not config.explaining.explain or not without:
        return []
    asked = " ".join(config.explaining.cam)
    if without == deep:
        raise UsageError(
            f"--cam {asked} fits none of {', '.join(deep)} with --unfreeze {config.learning.unfreeze} (attention and "
            "rollout need a transformer, all others trained layers): name another, or give --no-explain."
        )
    return [f"{model}: --cam {asked} does not fit it, so no maps of it are made." for model in without]


def check_networks(plan: Plan, config: Config, features: Path) -> list[str]:
    """Check that networks have their weights, and that the disk has room for their features.

    Parameters
    ----------
    plan
        What is to be done.
    config
        The run's configuration.
    features
        Folder of the stores.

    Returns
    -------
    list of str
        How much room each network's features take.

    Raises
    ------
    InputError, UsageError
        If weights are missing or unfit, a network can't be cut as asked, or the GPU asked for is not there.
    ResourceError
        If there is too little room.
    """
    from migxai.learning.devices import choose_device
    from migxai.learning.weights import load_network

    lines, needed, where = _unexplained(plan, config), 0, ""
    # The machine that hands out jobs tells nothing about the GPUs of those that do them.
    if config.run.use_plugin is None and any(map(is_deep, plan.models)):
        where = f", on the {'GPU' if choose_device(config.learning.device).type == 'cuda' else 'CPU'}"
    for model in filter(is_deep, plan.models):
        recipe = make_recipe(model, config.learning, plan.template.geometry, config.random_seed)
        missing = sum(
            not recipe.path(features, subject, map_hash).is_file()
            for maps in plan.maps.values()
            for subject, map_hash in zip(plan.roster.people["key"], maps.hashes, strict=True)
        )
        if missing and config.learning.weights != "random":
            load_network(model, config.learning, config.random_seed)
        size = estimate_bytes(recipe, missing)
        needed += size
        total = len(plan.maps) * len(plan.roster.people)
        lines.append(f"{model}: features of {missing} of {total} maps are to be made, {size / GB:.1f} GB{where}.")
    free = free_gb(features)
    if needed / GB > free:
        raise ResourceError(
            f"The frozen features take {needed / GB:.1f} GB, and {free:.1f} GB are free where the output lies; free "
            "space, or ask for fewer --augmentations, --slices, --models or --indicators."
        )
    return lines
