"""Explanations of the group level as nodes: maps of each fold's test subjects, by the model that never saw them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from migxai.explain.methods import METHODS
from migxai.explain.saliency_maps import SaliencyMaps, join_folds, scale_folds
from migxai.group.features import MapArrays, slice_space, with_store
from migxai.group.fit import Unit, fitted_models, read_folds
from migxai.indicators.registry import INDICATORS
from migxai.io import atomic, write_json
from migxai.learning.backbones import find_split
from migxai.learning.devices import choose_device
from migxai.learning.estimators import is_deep, make_estimator, model_titles
from migxai.metrics.scores import aggregate_subjects
from migxai.participant.interfaces.base import BaseInterfaceInputSpec, Step, TraitedSpec, load_array, traits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from migxai.audit.audited_maps import AuditedMaps
    from migxai.config import Config, Learning
    from migxai.learning.deep import DeepEstimator
    from migxai.learning.heads import Head
    from migxai.metrics.types import IntArray


Drawer: TypeAlias = "Callable[[Head, IntArray, IntArray], NDArray[np.float32]]"

#: What a file of maps holds beside the trial.
_KEPT = ("places", "labels", "predicted", "maps", "fold")


class ExplainInput(BaseInterfaceInputSpec):  # noqa: D101
    unit = traits.Any(mandatory=True, desc="a trial of a network")
    arrays = traits.Any(mandatory=True, desc="a MapArrays")
    methods = traits.List(traits.Str, mandatory=True, desc="ways to make maps that fit the network")
    settings = traits.Any(mandatory=True, desc="migxai.config.Learning")
    seed = traits.Int(mandatory=True, desc="of the run")
    folder = traits.Str(mandatory=True, desc="where results of folds are kept")
    ready = traits.Any(desc="the unit's folds, which must be complete; orders the nodes")


class ExplainOutput(TraitedSpec):  # noqa: D101
    files = traits.List(traits.Str, desc="maps of the trial, one file for each way to make them")


class Explain(Step):
    """Make maps of everybody who was tested in a trial."""

    input_spec = ExplainInput
    output_spec = ExplainOutput
    _always_run = True  # as ExtractFeatures

    def _run_interface(self, runtime):  # type: ignore[no-untyped-def]
        unit, folder, settings = self.inputs.unit, Path(self.inputs.folder), self.inputs.settings
        paths = [evidence_path(folder, unit, method) for method in self.inputs.methods]
        missing = [method for method, path in zip(self.inputs.methods, paths, strict=True) if not path.is_file()]
        if missing:
            for method in missing:
                draw = make_drawer(unit, self.inputs.arrays, method, settings, self.inputs.seed)
                write_evidence(evidence_path(folder, unit, method), explain_unit(unit, folder, settings, draw))
        self._results["files"] = [str(path) for path in paths]
        return runtime


class CheckMapsInput(BaseInterfaceInputSpec):  # noqa: D101
    units = traits.List(traits.Any, mandatory=True, desc="all trials of a network, indicator and comparison")
    arrays = traits.Any(mandatory=True, desc="a MapArrays")
    method = traits.Str(mandatory=True, desc="the way to make maps that is checked")
    settings = traits.Any(mandatory=True, desc="migxai.config.Learning")
    seed = traits.Int(mandatory=True, desc="of the run")
    folder = traits.Str(mandatory=True, desc="where results of folds are kept")
    ready = traits.Any(desc="maps of all trials; orders the nodes")


class CheckMapsOutput(TraitedSpec):  # noqa: D101
    file = traits.Str(desc="what the checks found")


class CheckMaps(Step):
    """Check whether maps depend on what a network has learned."""

    input_spec = CheckMapsInput
    output_spec = CheckMapsOutput
    _always_run = True  # as ExtractFeatures

    def _run_interface(self, runtime):  # type: ignore[no-untyped-def]
        from migxai.audit.runner import check_maps, trusted

        folder, units = Path(self.inputs.folder), self.inputs.units
        path = checks_path(folder, units[0], self.inputs.method)
        if not path.is_file():
            case = make_case(
                units, self.inputs.arrays, self.inputs.method, self.inputs.settings, self.inputs.seed, folder
            )
            checks = check_maps(case)
            passed, sentence = trusted(checks)
            write_json(path, {"checks": [check.to_dict() for check in checks], "passed": passed, "sentence": sentence})
        self._results["file"] = str(path)
        return runtime


def checks_path(folder: Path, unit: Unit, method: str) -> Path:
    """Return where the checks of a cell's maps are kept."""
    return folder / unit.cell / f"checks_{method.replace('+', 'p')}.json"


def make_case(
    units: Sequence[Unit], arrays: MapArrays, method: str, settings: Learning, seed: int, folder: Path
) -> AuditedMaps:
    """Put together what the checks of a cell's maps look at.

    Raises
    ------
    InputError
        If features or weights are missing.
    """
    from migxai.audit.audited_maps import AuditedMaps, GroundTruth
    from migxai.learning.backbone import make_backbone

    unit = units[0]
    store = with_store(arrays.inputs(), arrays, unit.model, settings, seed).store
    assert store is not None
    with np.load(arrays.template, allow_pickle=False) as kept:
        content = dict(kept)
    space, regions, _ = slice_space(arrays)
    truth = None
    if "planted" in content:
        names = dict(zip(content["indices"].tolist(), content["names"].tolist(), strict=True))
        truth = GroundTruth(content["planted"][space.inside], regions, names, tuple(content["planted_names"].tolist()))
    return AuditedMaps(
        of=f"{METHODS[method].title} of {model_titles().get(unit.model, unit.model)} on "
        f"{INDICATORS.title(unit.indicator)}, {' versus '.join(unit.classes)}",
        labels=np.asarray(unit.labels),
        people=np.asarray(unit.people),
        folds=unit.folds or (),
        heads=[estimator.head_module() for estimator in fold_estimators(folder, unit, settings)],
        trials=[scale_folds(evidence) for evidence in read_evidence(folder, units, method)],
        store=store,
        space=space,
        method=method,
        classes=unit.classes,
        settings=settings,
        seed=unit.seed(seed),
        planes=load_array(arrays.planes),
        backbone=make_backbone(unit.model, settings, seed, device=choose_device(settings.device)),
        truth=truth,
    )


def methods_of(config: Config, model: str, trial: int = 1) -> list[str]:
    """Return the ways to make maps that were asked for and that fit a model, in the order they were asked for.

    What needs the whole network, minutes for each trial, is made of the first trial alone.
    """
    if not config.explaining.explain or not is_deep(model):
        return []
    split = find_split(model, config.learning.unfreeze)
    return [
        name
        for name in dict.fromkeys(config.explaining.cam)
        if METHODS[name].fits(split) and (METHODS[name].explain_network is None or trial == 1)
    ]


def first_method(config: Config, model: str) -> str:
    """Return the way to make maps that a model's checks look at; empty if none is made of its store."""
    return next((name for name in methods_of(config, model) if METHODS[name].explain_network is None), "")


def make_drawer(unit: Unit, arrays: MapArrays, method: str, settings: Learning, seed: int) -> Drawer:
    """Return what makes maps (n, C, V) of some people: a function of a head, of them, and of whom it was trained on.

    Raises
    ------
    InputError
        If features or weights are missing.
    """
    space, _, _ = slice_space(arrays)
    classes = len(unit.classes)
    by_network = METHODS[method].explain_network
    if by_network is not None:
        from migxai.learning.backbone import make_backbone

        backbone = make_backbone(unit.model, settings, seed, device=choose_device(settings.device))
        planes = load_array(arrays.planes)
        return lambda head, rows, trained: by_network(
            backbone, head, planes, space, rows=rows, trained=trained, n_classes=classes
        )
    from migxai.explain.closed_form import explain_people

    store = with_store(arrays.inputs(), arrays, unit.model, settings, seed).store
    assert store is not None
    return lambda head, rows, _: explain_people(head, store, rows, method, space, classes)


def explain_unit(unit: Unit, folder: Path, settings: Learning, draw: Drawer) -> SaliencyMaps:
    """Make maps of the test subjects of all folds of a unit, each by its fold's model.

    Raises
    ------
    UsageError
        If the way to make maps does not fit the network.
    """
    people, labels = np.asarray(unit.people), np.asarray(unit.labels)
    parts = []
    of_folds = zip(unit.folds or (), read_folds(folder, unit), fold_estimators(folder, unit, settings), strict=True)
    for fold, result, estimator in of_folds:
        maps = draw(estimator.head_module(), people[fold.test], people[fold.train])
        predicted = aggregate_subjects(result.probabilities, settings.vote).argmax(axis=1)
        numbers = np.full(len(fold.test), fold.number)
        parts.append(SaliencyMaps(fold.test, labels[fold.test], predicted, maps, numbers, fold.trial))
    return join_folds(parts)


def fold_estimators(folder: Path, unit: Unit, settings: Learning) -> Iterator[DeepEstimator]:
    """Read the trained network of each fold of a unit."""
    for _, _, tensors in fitted_models(folder, unit):
        estimator = make_estimator(unit.model, settings, n_classes=len(unit.classes), seed=0).restore(tensors)
        yield estimator  # type: ignore[misc]


def evidence_path(folder: Path, unit: Unit, method: str) -> Path:
    """Return where the maps of a unit are kept."""
    return folder / unit.cell / f"{unit.name}_{method.replace('+', 'p')}.npz"


def write_evidence(path: Path, evidence: SaliencyMaps) -> None:
    """Keep the maps of a trial, whole or not at all."""
    with atomic(path) as stream:
        np.savez(stream, trial=evidence.trial, **{name: getattr(evidence, name) for name in _KEPT})


def read_evidence(folder: Path, units: Sequence[Unit], method: str) -> list[SaliencyMaps]:
    """Read the maps of the trials that are there."""
    found = []
    for path in (evidence_path(folder, unit, method) for unit in units):
        if path.is_file():
            with np.load(path, allow_pickle=False) as kept:
                places, labels, predicted, maps, fold = (kept[name] for name in _KEPT)
                found.append(SaliencyMaps(places, labels, predicted, maps, fold, int(kept["trial"])))
    return found
