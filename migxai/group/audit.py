"""Checks of explanations: whether maps depend on what a network has learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from migxai.audit.runner import check_results_by_extensions
from migxai.config import Config
from migxai.evaluation.results import GroupFolder
from migxai.explain.methods import METHODS
from migxai.explain.saliency_maps import scale_folds
from migxai.group.explain import ExplainJob, network_of, read_saliency, trained_heads
from migxai.group.fit import Experiment
from migxai.group.job import Job, Workspace
from migxai.group.plan import checked_method
from migxai.indicators.registry import INDICATORS
from migxai.io import read_json, write_json
from migxai.learning.estimators import model_titles

if TYPE_CHECKING:
    from migxai.audit.audited_maps import AuditedMaps


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckJob(Job):
    """Check the maps that a method made of a network, in all trials on one indicator and comparison."""

    experiments: tuple[Experiment, ...]
    method: str
    memory_gb: float = 2.0

    def run(self) -> None:
        """Keep what the checks find."""
        from migxai.audit.runner import check_maps, trusted

        path = checks_path(self.workspace.folds, self.experiments[0], self.method)
        if not path.is_file():
            checks = check_maps(gather_maps(self.experiments, self.method, self.workspace))
            passed, sentence = trusted(checks)
            write_json(path, {"checks": [check.to_dict() for check in checks], "passed": passed, "sentence": sentence})


def check_jobs(explained: Sequence[ExplainJob], config: Config, workspace: Workspace) -> list[CheckJob]:
    """List the jobs that check maps, once those of all trials are there."""
    if not config.explaining.sanity_checks:
        return []
    jobs = []
    for series, trials in groupby(explained, key=lambda job: job.experiment.series):
        maps = tuple(trials)
        method = checked_method(config, maps[0].experiment.model)
        if method:  # of maps that are not made of the store, nothing is checked
            jobs.append(
                CheckJob(
                    name=f"{series}_checks",
                    waits_for=tuple(job.name for job in maps),
                    workspace=workspace,
                    experiments=tuple(job.experiment for job in maps),
                    method=method,
                )
            )
    return jobs


def gather_maps(experiments: Sequence[Experiment], method: str, workspace: Workspace) -> AuditedMaps:
    """Put together what the checks look at; an InputError says which features or weights are missing."""
    from migxai.audit.audited_maps import AuditedMaps, GroundTruth

    first = experiments[0]
    arrays = workspace.arrays[first.indicator]
    space, regions, _ = arrays.slice_space()
    with np.load(arrays.template, allow_pickle=False) as kept:
        content = dict(kept)
    truth = None
    if "planted" in content:
        names = dict(zip(content["indices"].tolist(), content["names"].tolist(), strict=True))
        truth = GroundTruth(content["planted"][space.inside], regions, names, tuple(content["planted_names"].tolist()))
    return AuditedMaps(
        of=f"{METHODS[method].title} of {model_titles().get(first.model, first.model)} on "
        f"{INDICATORS.title(first.indicator)}, {' versus '.join(first.classes)}",
        labels=np.asarray(first.labels),
        people=np.asarray(first.people),
        folds=first.folds or (),
        heads=list(trained_heads(first, workspace)),
        trials=[scale_folds(maps) for maps in read_saliency(workspace.folds, experiments, method)],
        store=workspace.store(first.model, first.indicator),
        space=space,
        method=method,
        classes=first.classes,
        settings=workspace.settings,
        seed=first.seed(workspace.seed),
        planes=arrays.read_planes(),
        backbone=network_of(first, workspace),
        truth=truth,
    )


def checks_path(folder: Path, experiment: Experiment, method: str) -> Path:
    """Return where the checks of a network's maps are kept."""
    return folder / experiment.series / f"checks_{method.replace('+', 'p')}.json"


def write_audit(folder: GroupFolder, config: Config, experiments: Sequence[Experiment], folds: Path) -> dict[str, str]:
    """Write what the checks of all maps found, or remove what those of an earlier run found.

    Returns by a series of experiments why its maps must not be trusted; empty where they passed.
    """
    warnings: dict[str, str] = {}
    checks: list[Any] = []
    for experiment in experiments:
        path = checks_path(folds, experiment, checked_method(config, experiment.model))
        if experiment.series not in warnings and path.is_file():
            found = read_json(path)
            checks += found["checks"]
            warnings[experiment.series] = "" if found["passed"] else found["sentence"]
    checks += [check.to_dict() for check in check_results_by_extensions(folder)]
    folder.file("audit.json").unlink(missing_ok=True)
    if checks:
        content = {"Description": "Whether maps depend on what was learned.", "checks": checks}
        write_json(folder.file("audit.json"), content)
    return warnings
