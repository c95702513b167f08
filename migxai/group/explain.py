"""Explanations: maps of each fold's test subjects, by the model that never saw them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from migxai.explain.methods import METHODS
from migxai.explain.saliency_maps import SaliencyMaps, join_folds
from migxai.group.fit import Experiment, fitted_models, read_folds
from migxai.group.job import Job, Workspace
from migxai.group.plan import saliency_methods
from migxai.io import atomic
from migxai.learning.backbones import find_split
from migxai.learning.devices import choose_device
from migxai.learning.estimators import make_estimator
from migxai.metrics.scores import aggregate_subjects

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from migxai.config import Config
    from migxai.learning.backbone import Backbone
    from migxai.learning.heads import Head
    from migxai.learning.training import DeepEstimator
    from migxai.metrics.types import IntArray

#: Makes maps (n, C, V) by a head of the people in rows, given the rows that it was trained on.
Explainer: TypeAlias = "Callable[[Head, IntArray, IntArray], NDArray[np.float32]]"

#: What a file of maps holds beside the trial.
_KEPT = ("places", "labels", "predicted", "maps", "fold")


@dataclass(frozen=True, kw_only=True, eq=False)
class ExplainJob(Job):
    """Make maps of everybody who was tested in a trial of a network, by the methods that fit the network."""

    experiment: Experiment
    methods: tuple[str, ...]
    memory_gb: float = 1.5

    def run(self) -> None:
        """Make the maps that are not there yet, a file for each method."""
        for method in self.methods:
            path = saliency_path(self.workspace.folds, self.experiment, method)
            if not path.is_file():
                explainer = make_explainer(self.experiment, method, self.workspace)
                write_saliency(path, explain_experiment(self.experiment, explainer, self.workspace))


def explain_jobs(experiments: Sequence[Experiment], config: Config, workspace: Workspace) -> list[ExplainJob]:
    """List the jobs that explain: one for each trial of a network, once it is fitted."""
    methods = {item.name: tuple(saliency_methods(config, item.model, item.trial)) for item in experiments}
    return [
        ExplainJob(
            name=f"{experiment.name}_maps",
            waits_for=(experiment.name,),
            workspace=workspace,
            experiment=experiment,
            methods=methods[experiment.name],
        )
        for experiment in experiments
        if experiment.folds and methods[experiment.name]
    ]


def make_explainer(experiment: Experiment, method: str, workspace: Workspace) -> Explainer:
    """Return what makes maps by the heads of an experiment; an InputError names missing features or weights."""
    arrays, classes = workspace.arrays[experiment.indicator], len(experiment.classes)
    space, _, _ = arrays.slice_space()
    by_network = METHODS[method].explain_network
    if by_network is None and not METHODS[method].reads_store(
        find_split(experiment.model, workspace.settings.unfreeze)
    ):
        from migxai.explain.explainers import explain_people_by_network

        by_network = partial(explain_people_by_network, method=method)
    if by_network is not None:
        backbone, planes = network_of(experiment, workspace), arrays.read_planes()
        return lambda head, rows, trained: by_network(
            backbone, head, planes, space, rows=rows, trained=trained, n_classes=classes
        )
    from migxai.explain.explainers import explain_people

    store = workspace.store(experiment.model, experiment.indicator)
    return lambda head, rows, _: explain_people(head, store, rows, method, space, classes)


def network_of(experiment: Experiment, workspace: Workspace) -> Backbone:
    """Load the network of an experiment, as it was before it was trained; an InputError says what is missing."""
    from migxai.learning.backbone import make_backbone

    settings = workspace.settings
    return make_backbone(experiment.model, settings, workspace.seed, device=choose_device(settings.device))


def explain_experiment(experiment: Experiment, explainer: Explainer, workspace: Workspace) -> SaliencyMaps:
    """Make maps of the test subjects of all folds, each by its fold's model.

    A UsageError says that the way to make maps does not fit the network.
    """
    people, labels = np.asarray(experiment.people), np.asarray(experiment.labels)
    results, heads = read_folds(workspace.folds, experiment), trained_heads(experiment, workspace)
    parts = []
    for fold, result, head in zip(experiment.folds or (), results, heads, strict=True):
        maps = explainer(head, people[fold.test], people[fold.train])
        predicted = aggregate_subjects(result.probabilities, workspace.settings.vote).argmax(axis=1)
        numbers = np.full(len(fold.test), fold.number)
        parts.append(SaliencyMaps(fold.test, labels[fold.test], predicted, maps, numbers, fold.trial))
    return join_folds(parts)


def trained_heads(experiment: Experiment, workspace: Workspace) -> Iterator[Head]:
    """Read what was trained of a network in each fold of an experiment."""
    classes = len(experiment.classes)
    for _, _, tensors in fitted_models(workspace.folds, experiment):
        estimator = make_estimator(experiment.model, workspace.settings, n_classes=classes, seed=0).restore(tensors)
        yield cast("DeepEstimator", estimator).head_module()


def saliency_path(folder: Path, experiment: Experiment, method: str) -> Path:
    """Return where the maps of an experiment are kept."""
    return folder / experiment.series / f"{experiment.name}_{method.replace('+', 'p')}.npz"


def write_saliency(path: Path, maps: SaliencyMaps) -> None:
    """Keep the maps of a trial, whole or not at all."""
    with atomic(path) as stream:
        np.savez(stream, trial=maps.trial, **{name: getattr(maps, name) for name in _KEPT})


def read_saliency(folder: Path, experiments: Sequence[Experiment], method: str) -> list[SaliencyMaps]:
    """Read the maps of the trials that are there."""
    found = []
    for path in (saliency_path(folder, experiment, method) for experiment in experiments):
        if path.is_file():
            with np.load(path, allow_pickle=False) as kept:
                places, labels, predicted, maps, fold = (kept[name] for name in _KEPT)
                found.append(SaliencyMaps(places, labels, predicted, maps, fold, int(kept["trial"])))
    return found
