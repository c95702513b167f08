"""The steps of the group level as nodes: frozen features of some subjects, and the folds of some units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from migxai.config import Learning
from migxai.errors import InputError
from migxai.evaluation.permutation import SCORES, permuted_scores
from migxai.explain.group_tests import RegionalNull
from migxai.group.features import MapArrays, slice_space, with_store
from migxai.io import atomic, read_json, write_bytes, write_json
from migxai.learning.crossval import FoldResult, fold_path, only, read_fold, run_fold, unit_key, unit_seed, write_fold
from migxai.learning.estimators import Estimator, make_estimator
from migxai.learning.splits import Fold
from migxai.learning.types import Inputs
from migxai.metrics.types import FloatArray, IntArray
from migxai.participant.interfaces.base import BaseInterfaceInputSpec, Step, TraitedSpec, traits


@dataclass(frozen=True)
class Unit:
    """One model on one indicator and comparison, in one trial.

    Attributes
    ----------
    model, indicator, comparison
        Names.
    classes
        Names of the C classes.
    people, labels
        Rows of the cohort that belong to the comparison, and their classes, (n,).
    folds
        Of this trial. None is the model of everybody, which is tested on nobody.
    keep
        Whether the models of the folds are kept.
    """

    model: str
    indicator: str
    comparison: str
    classes: tuple[str, ...]
    people: tuple[int, ...]
    labels: tuple[int, ...]
    folds: tuple[Fold, ...] | None
    keep: bool = True

    @property
    def cell(self) -> str:
        """Comparison, indicator and model in characters that file names allow."""
        return f"{self.comparison}_{self.indicator}_{self.model.replace(':', '-').replace('/', '-')}"

    @property
    def name(self) -> str:
        """What tells it from all other units."""
        return f"{self.cell}_{f'trial{self.folds[0].trial}' if self.folds else 'everybody'}"

    def seed(self, seed: int) -> int:
        """Make the seed of this comparison and indicator from that of the run."""
        return unit_seed(seed, self.comparison, self.indicator)


class CrossValidateInput(BaseInterfaceInputSpec):  # noqa: D101
    units = traits.List(traits.Any, mandatory=True, desc="the units to work through")
    arrays = traits.Dict(mandatory=True, desc="a MapArrays for each indicator")
    settings = traits.Any(mandatory=True, desc="migxai.config.Learning")
    seed = traits.Int(mandatory=True, desc="of the run")
    folder = traits.Str(mandatory=True, desc="where results of folds are kept")
    ready = traits.Any(desc="features that must have been made before; orders the nodes")


class CrossValidateOutput(TraitedSpec):  # noqa: D101
    units = traits.List(traits.Str, desc="names of the units, all complete")


class CrossValidate(Step):
    """Fit and test every fold of some units; a fold whose result is there already is not computed again."""

    input_spec = CrossValidateInput
    output_spec = CrossValidateOutput
    _always_run = True  # as ExtractFeatures

    def _run_interface(self, runtime):  # type: ignore[no-untyped-def]
        settings, folder, seed = self.inputs.settings, Path(self.inputs.folder), self.inputs.seed
        read: dict[str, Inputs] = {}
        for unit in self.inputs.units:
            arrays = self.inputs.arrays[unit.indicator]
            if unit.indicator not in read:
                read[unit.indicator] = arrays.inputs()
            inputs = with_store(read[unit.indicator], arrays, unit.model, settings, seed)
            if unit.folds is None:
                fit_everybody(unit, inputs, settings, unit.seed(seed), folder)
            else:
                test_folds(unit, inputs, settings, unit.seed(seed), folder, arrays.hashes)
        self._results["units"] = [unit.name for unit in self.inputs.units]
        return runtime


def test_folds(
    unit: Unit, inputs: Inputs, settings: Learning, seed: int, folder: Path, map_hashes: tuple[str, ...]
) -> None:
    """Fit and test the folds of a unit that are not in the folder yet, and keep their models if they are wanted."""
    labels, people = np.asarray(unit.labels), np.asarray(unit.people)
    keys: dict[str, str] = {}
    for fold in unit.folds or ():
        what: Any = {"classes": unit.classes, "settings": settings, "seed": seed, "people": people}
        key = unit_key(unit.model, inputs, labels, fold, **what, map_hashes=map_hashes)
        path = fold_path(folder, unit.cell, fold.trial, fold.number)
        keys[path.name] = key
        if read_fold(path, key) is not None and (not unit.keep or path.with_suffix(".safetensors").is_file()):
            continue
        result = run_fold(unit.model, inputs, labels, fold, **what)
        if unit.keep:
            assert result.estimator is not None
            write_tensors(path.with_suffix(".safetensors"), result.estimator)
        # Last: a fold counts as complete once this file is there.
        write_fold(path, result, key)
    write_json(index_path(folder, unit), keys)


def fit_everybody(unit: Unit, inputs: Inputs, settings: Learning, seed: int, folder: Path) -> None:
    """Fit the model that is saved for later use, on all people of the comparison."""
    path = everybody_path(folder, unit)
    if not path.is_file():
        estimator = make_estimator(unit.model, settings, n_classes=len(unit.classes), seed=unit_seed(seed, "everybody"))
        people = np.asarray(unit.people)
        write_tensors(path, estimator.fit(only(inputs, people), people, np.asarray(unit.labels)))


class PermuteInput(BaseInterfaceInputSpec):  # noqa: D101
    unit = traits.Any(mandatory=True, desc="whose cross-validation is repeated")
    arrays = traits.Any(mandatory=True, desc="a MapArrays")
    method = traits.Str("", usedefault=True, desc="way to make maps whose regions are kept; empty for none")
    first = traits.Int(mandatory=True, desc="number of the first permutation")
    last = traits.Int(mandatory=True, desc="number after the last one")
    settings = traits.Any(mandatory=True, desc="migxai.config.Learning")
    seed = traits.Int(mandatory=True, desc="of the run")
    folder = traits.Str(mandatory=True, desc="where results are kept")
    ready = traits.Any(desc="features that must have been made before; orders the nodes")


class PermuteOutput(TraitedSpec):  # noqa: D101
    file = traits.Str(desc="scores with permuted labels")


class Permute(Step):
    """Repeat a unit's cross-validation with labels permuted within sites, so many times."""

    input_spec = PermuteInput
    output_spec = PermuteOutput
    _always_run = True  # as ExtractFeatures

    def _run_interface(self, runtime):  # type: ignore[no-untyped-def]
        unit, settings = self.inputs.unit, self.inputs.settings
        numbers = range(self.inputs.first, self.inputs.last)
        path = permuted_path(Path(self.inputs.folder), unit, self.inputs.first, self.inputs.method)
        if not path.is_file():
            arrays = self.inputs.arrays
            inputs = with_store(arrays.inputs(), arrays, unit.model, settings, self.inputs.seed)
            watch = _watch(unit, arrays, inputs, self.inputs.method) if self.inputs.method else None
            scores = permuted_scores(
                unit.model,
                inputs,
                np.asarray(unit.labels),
                unit.folds,
                settings,
                classes=unit.classes,
                numbers=numbers,
                seed=unit.seed(self.inputs.seed),
                people=np.asarray(unit.people),
                strata=[arrays.sites[row] for row in unit.people],
                watch=watch,
            )
            if watch is not None:
                with atomic(path.with_suffix(".npy")) as stream:
                    np.save(stream, np.stack(watch.found), allow_pickle=False)
            write_json(path, {name: scores[:, place] for place, name in enumerate(SCORES)})
        self._results["file"] = str(path)
        return runtime


def _watch(unit: Unit, arrays: MapArrays, inputs: Inputs, method: str) -> RegionalNull:
    assert inputs.store is not None
    return RegionalNull(np.asarray(unit.labels), len(unit.folds or ()), method, inputs.store, *slice_space(arrays))


def permuted_path(folder: Path, unit: Unit, first: int, method: str) -> Path:
    """Return where scores of permutations from number `first` on are kept; regions of maps lie beside, as ``.npy``."""
    return folder / unit.cell / f"permutations-{first}{f'_{method}' if method else ''}.json"


def index_path(folder: Path, unit: Unit) -> Path:
    """Return the file that lists a unit's folds and their content keys, once all are there."""
    return folder / unit.cell / f"{unit.name}.json"


def read_folds(folder: Path, unit: Unit) -> list[FoldResult]:
    """Read the results of a unit, in the order of its folds; none if it is not complete.

    Raises
    ------
    InputError
        If a file is damaged.
    """
    index = index_path(folder, unit)
    if not index.is_file():
        return []
    keys = read_json(index)
    results = []
    for fold in unit.folds or ():
        path = fold_path(folder, unit.cell, fold.trial, fold.number)
        result = read_fold(path, keys[path.name])
        if result is None:
            raise InputError(f"{path.parent.name}/{path.name} is gone; start again, and it is made again.")
        results.append(result)
    return results


def everybody_path(folder: Path, unit: Unit) -> Path:
    """Return where the model of everybody is kept until it gets its card."""
    return folder / unit.cell / "everybody.safetensors"


def write_tensors(path: Path, estimator: Estimator) -> None:
    """Keep what was fitted, whole or not at all."""
    write_bytes(path, save({name: np.ascontiguousarray(item) for name, item in estimator.tensors().items()}))


def fitted_models(folder: Path, unit: Unit) -> Iterator[tuple[str, IntArray, dict[str, FloatArray]]]:
    """Read what was fitted in a unit: the name, the places of the training subjects, and the fitted arrays."""
    if unit.folds is None:
        path = everybody_path(folder, unit)
        if path.is_file():
            yield "everybody", np.arange(len(unit.people)), load_file(path)
        return
    for fold in unit.folds:
        path = fold_path(folder, unit.cell, fold.trial, fold.number).with_suffix(".safetensors")
        if path.is_file():
            yield f"trial-{fold.trial}_fold-{fold.number}", fold.train, load_file(path)
