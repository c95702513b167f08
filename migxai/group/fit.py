"""Models are fitted and tested, fold by fold, with true and with permuted labels; each result is a file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from migxai.config import Config
from migxai.errors import InputError
from migxai.evaluation.permutation import SCORES, permuted_scores
from migxai.explain.regions import RegionalNull
from migxai.group.features import FeatureJob
from migxai.group.job import Job, Workspace
from migxai.group.plan import Plan, checked_method, saliency_methods
from migxai.io import atomic, read_json, write_bytes, write_json
from migxai.learning.crossval import FoldResult, fold_path, read_fold, run_fold, unit_key, unit_seed, write_fold
from migxai.learning.estimators import Estimator, baselines, is_deep, make_estimator
from migxai.learning.splits import Fold
from migxai.metrics.types import FloatArray, IntArray

#: Permutations of one job: minutes of work, so that starting it costs little beside it.
PERMUTATIONS = 20


@dataclass(frozen=True)
class Experiment:
    """One model on one indicator and comparison, in one trial.

    `people` are the rows of the cohort that belong to the comparison, `labels` their classes (n,). `folds` are those of
    this trial; None stands for the final model, which learns from everybody and is tested on nobody. `keep` says
    whether the models of the folds are kept.
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
    def names(self) -> dict[str, str]:
        """Comparison, indicator and model, as columns of tables."""
        return {"comparison": self.comparison, "indicator": self.indicator, "model": self.model}

    @property
    def series(self) -> str:
        """Comparison, indicator and model, which all trials share, in characters that file names allow."""
        return f"{self.comparison}_{self.indicator}_{self.model.replace(':', '-').replace('/', '-')}"

    @property
    def trial(self) -> int:
        """Number of the trial, from 1; 0 for the final model."""
        return self.folds[0].trial if self.folds else 0

    @property
    def name(self) -> str:
        """What tells it from all other experiments."""
        return f"{self.series}_{f'trial{self.trial}' if self.folds else 'everybody'}"

    def seed(self, seed: int) -> int:
        """Make the seed of this comparison and indicator from that of the run."""
        return unit_seed(seed, self.comparison, self.indicator)


def list_experiments(plan: Plan, config: Config) -> list[Experiment]:
    """List the experiments of all models, indicators, comparisons and trials, and the final models.

    Networks come first, each indicator after the other.
    """
    experiments = []
    for indicator, model, part in itertools.product(plan.maps, plan.models, plan.comparisons):
        trials = sorted({fold.trial for fold in part.folds})
        of_trials = [tuple(fold for fold in part.folds if fold.trial == trial) for trial in trials]
        saved = "none" if model in baselines() else config.learning.save_models
        experiments += [
            Experiment(
                model=model,
                indicator=indicator,
                comparison=part.comparison.name,
                classes=part.comparison.labels,
                people=tuple(part.people.tolist()),
                labels=tuple(part.labels.tolist()),
                folds=folds,
                keep=saved == "folds" or bool(saliency_methods(config, model)),
            )
            for folds in (*of_trials, *([None] if saved != "none" else []))
        ]
    return sorted(experiments, key=lambda experiment: not is_deep(experiment.model))


@dataclass(frozen=True, kw_only=True, eq=False)
class FitJob(Job):
    """Fit and test every fold of some experiments, one after the other."""

    experiments: tuple[Experiment, ...]
    memory_gb: float = 1.5

    def run(self) -> None:
        """Compute the folds of which there is no result yet."""
        for experiment in self.experiments:
            if experiment.folds is None:
                fit_everybody(experiment, self.workspace)
            else:
                test_folds(experiment, self.workspace)


def fit_jobs(experiments: Sequence[Experiment], workspace: Workspace, features: Sequence[FeatureJob]) -> list[FitJob]:
    """List the jobs that fit: one for each experiment of a network, and one for all others together."""
    jobs = [
        FitJob(
            name=experiment.name,
            waits_for=_features_of(experiment, features),
            workspace=workspace,
            experiments=(experiment,),
        )
        for experiment in experiments
        if is_deep(experiment.model)
    ]
    cheap = tuple(experiment for experiment in experiments if not is_deep(experiment.model))
    if cheap:
        jobs.append(FitJob(name="baselines", memory_gb=1.0, workspace=workspace, experiments=cheap))
    return jobs


def _features_of(experiment: Experiment, features: Sequence[FeatureJob]) -> tuple[str, ...]:
    needed = experiment.model, experiment.indicator
    return tuple(job.name for job in features if (job.model, job.indicator) == needed)


def test_folds(experiment: Experiment, workspace: Workspace) -> None:
    """Fit and test the folds that are not in the folder yet, and keep their models if they are wanted."""
    inputs = workspace.inputs(experiment.model, experiment.indicator)
    map_hashes = workspace.arrays[experiment.indicator].hashes
    labels, people = np.asarray(experiment.labels), np.asarray(experiment.people)
    settings, seed = workspace.settings, experiment.seed(workspace.seed)
    keys: dict[str, str] = {}
    for fold in experiment.folds or ():
        what: Any = {"classes": experiment.classes, "settings": settings, "seed": seed, "people": people}
        key = unit_key(experiment.model, inputs, labels, fold, **what, map_hashes=map_hashes)
        path = fold_path(workspace.folds, experiment.series, fold.trial, fold.number)
        keys[path.name] = key
        if read_fold(path, key) is not None and (not experiment.keep or path.with_suffix(".safetensors").is_file()):
            continue
        result = run_fold(experiment.model, inputs, labels, fold, **what)
        if experiment.keep:
            assert result.estimator is not None
            _write_tensors(path.with_suffix(".safetensors"), result.estimator)
        # Last: a fold counts as complete once this file is there.
        write_fold(path, result, key)
    write_json(_index_path(workspace.folds, experiment), keys)


def fit_everybody(experiment: Experiment, workspace: Workspace) -> None:
    """Fit the final model, which is saved for later use, on all people of the comparison."""
    path = _everybody_path(workspace.folds, experiment)
    if not path.is_file():
        seed = unit_seed(experiment.seed(workspace.seed), "everybody")
        estimator = make_estimator(experiment.model, workspace.settings, n_classes=len(experiment.classes), seed=seed)
        people = np.asarray(experiment.people)
        inputs = workspace.inputs(experiment.model, experiment.indicator).take(people)
        _write_tensors(path, estimator.fit(inputs, np.arange(len(people)), np.asarray(experiment.labels)))


@dataclass(frozen=True, kw_only=True, eq=False)
class PermutationJob(Job):
    """Repeat the cross-validation of an experiment with labels permuted within sites.

    `numbers` counts the permutations from 0; `method` makes the maps whose regions are kept, and is empty for none.
    """

    experiment: Experiment
    numbers: range
    method: str = ""
    memory_gb: float = 1.5

    def run(self) -> None:
        """Keep the scores of the permutations, and regions of their maps beside them."""
        experiment, workspace = self.experiment, self.workspace
        path = permutation_path(workspace.folds, experiment, self.numbers.start, self.method)
        if path.is_file():
            return
        arrays, labels = workspace.arrays[experiment.indicator], np.asarray(experiment.labels)
        inputs, watch = workspace.inputs(experiment.model, experiment.indicator), None
        if self.method:
            assert inputs.store is not None
            count = len(experiment.folds or ())
            watch = RegionalNull(labels, count, self.method, inputs.store, *arrays.slice_space())
        scores = permuted_scores(
            experiment.model,
            inputs,
            labels,
            experiment.folds or (),
            workspace.settings,
            classes=experiment.classes,
            numbers=self.numbers,
            seed=experiment.seed(workspace.seed),
            people=np.asarray(experiment.people),
            strata=[arrays.sites[row] for row in experiment.people],
            watch=watch,
        )
        if watch is not None:
            with atomic(path.with_suffix(".npy")) as stream:
                np.save(stream, np.stack(watch.found), allow_pickle=False)
        write_json(path, {name: scores[:, place] for place, name in enumerate(SCORES)})


def permutation_jobs(
    experiments: Sequence[Experiment], config: Config, workspace: Workspace, features: Sequence[FeatureJob]
) -> list[PermutationJob]:
    """List the jobs that repeat cross-validations with permuted labels."""
    most = config.learning.permutations
    return [
        PermutationJob(
            name=f"{experiment.series}_permutations_{first}",
            waits_for=_features_of(experiment, features),
            workspace=workspace,
            experiment=experiment,
            numbers=range(first, min(first + PERMUTATIONS, most)),
            method=checked_method(config, experiment.model),
        )
        for experiment in permuted_experiments(experiments, config)
        for first in range(0, most, PERMUTATIONS)
    ]


def permuted_experiments(experiments: Sequence[Experiment], config: Config) -> list[Experiment]:
    """Choose the experiments that are repeated with permuted labels: the first trial of each model asked for."""
    if not config.learning.permutations:
        return []
    return [experiment for experiment in experiments if experiment.trial == 1 and experiment.model not in baselines()]


def permutation_path(folder: Path, experiment: Experiment, first: int, method: str) -> Path:
    """Return where scores of permutations from number `first` on are kept; regions of maps lie beside, as ``.npy``."""
    return folder / experiment.series / f"permutations-{first}{f'_{method}' if method else ''}.json"


def permutation_files(folder: Path, experiment: Experiment, config: Config) -> list[Path]:
    """Return the files of all permutations of an experiment; none if there are none, or some are missing."""
    method = checked_method(config, experiment.model)
    starts = range(0, config.learning.permutations, PERMUTATIONS)
    paths = [permutation_path(folder, experiment, first, method) for first in starts]
    return paths if all(path.is_file() for path in paths) else []


def read_folds(folder: Path, experiment: Experiment) -> list[FoldResult]:
    """Read the results of an experiment, in the order of its folds; none if it is not complete.

    An InputError says that a file is gone or damaged.
    """
    index = _index_path(folder, experiment)
    if not index.is_file():
        return []
    keys = read_json(index)
    results = []
    for fold in experiment.folds or ():
        path = fold_path(folder, experiment.series, fold.trial, fold.number)
        result = read_fold(path, keys[path.name])
        if result is None:
            raise InputError(f"{path.parent.name}/{path.name} is gone; start again, and it is made again.")
        results.append(result)
    return results


def fitted_models(folder: Path, experiment: Experiment) -> Iterator[tuple[str, IntArray, dict[str, FloatArray]]]:
    """Read what was fitted in an experiment: the name, the places of the training subjects, and the fitted arrays."""
    if experiment.folds is None:
        path = _everybody_path(folder, experiment)
        if path.is_file():
            yield "everybody", np.arange(len(experiment.people)), load_file(path)
        return
    for fold in experiment.folds:
        path = fold_path(folder, experiment.series, fold.trial, fold.number).with_suffix(".safetensors")
        if path.is_file():
            yield f"trial-{fold.trial}_fold-{fold.number}", fold.train, load_file(path)


def _index_path(folder: Path, experiment: Experiment) -> Path:
    """Return the file that lists the folds of an experiment and their content keys, once all are there."""
    return folder / experiment.series / f"{experiment.name}.json"


def _everybody_path(folder: Path, experiment: Experiment) -> Path:
    """Return where the final model is kept until it gets its card."""
    return folder / experiment.series / "everybody.safetensors"


def _write_tensors(path: Path, estimator: Estimator) -> None:
    """Keep what was fitted, whole or not at all."""
    write_bytes(path, save({name: np.ascontiguousarray(item) for name, item in estimator.tensors().items()}))
