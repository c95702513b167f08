"""Jobs of the group level, what they share, and how nipype runs them; no other module of this room knows nipype."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, DynamicTraitedSpec, TraitedSpec, traits
from nipype.pipeline import engine as pe
from numpy.typing import NDArray

from migxai import errors
from migxai.config import Config, Learning
from migxai.errors import MigxaiError
from migxai.execution.plugins.workflows import Crash, MeasuredInterface, PoolPlugin, execute, read_plugin
from migxai.explain.volumes import SliceSpace
from migxai.io import read_json, write_json
from migxai.learning.estimators import is_deep
from migxai.learning.feature_store import FeatureStore, ModelInputs, make_feature_spec
from migxai.learning.slices import SliceGeometry
from migxai.metrics.types import IntArray

#: Where a job that failed leaves its error, in its node's directory.
_ERROR_FILE = "error.json"
_WORKFLOW = "group_wf"


@dataclass(frozen=True)
class MapArrays:
    """Where the prepared maps of one indicator lie; row i of everything is person i.

    Attributes
    ----------
    planes
        Slices (N, S, H0, W0), a ``.npy`` file.
    tables
        ``regions`` (N, R), ``nuisance`` (N, P) and ``nuisance_names`` (P,), an ``.npz`` file.
    subjects, sites, hashes
        Key and site of each person, and digest of their maps.
    template
        The template's ``brain`` and the atlas's ``labels`` on the geometry's grid (X, Y, Z), the ``indices`` and
        ``names`` of its regions (R,), and of a simulated cohort where its effect was ``planted``, an ``.npz`` file.
    features
        Folder of the stores of frozen features.
    """

    indicator: str
    planes: Path
    tables: Path
    subjects: tuple[str, ...]
    sites: tuple[str, ...]
    hashes: tuple[str, ...]
    geometry: SliceGeometry
    template: Path
    features: Path

    def inputs(self) -> ModelInputs:
        """Read what estimators of whole subjects need."""
        with np.load(self.tables, allow_pickle=False) as tables:
            names = tuple(str(name) for name in tables["nuisance_names"])
            return ModelInputs(self.subjects, tables["regions"], tables["nuisance"], names)

    def read_planes(self) -> NDArray[np.float32]:
        """Map the slices into memory, read-only."""
        planes: NDArray[np.float32] = np.load(self.planes, mmap_mode="r", allow_pickle=False)
        return planes

    def slice_space(self) -> tuple[SliceSpace, IntArray, tuple[int, ...]]:
        """Return the voxels that slices show, the region of each (V,), and the regions' labels."""
        with np.load(self.template, allow_pickle=False) as kept:
            space = SliceSpace(self.geometry, kept["brain"])
            return space, kept["labels"][space.inside], tuple(kept["indices"].tolist())


@dataclass(frozen=True)
class Workspace:
    """What all jobs of a run share; the results of folds are kept in the folder `folds`."""

    settings: Learning
    seed: int
    arrays: Mapping[str, MapArrays]
    folds: Path

    def inputs(self, model: str, indicator: str) -> ModelInputs:
        """Read what a model learns from; for a network with the store of its features.

        An InputError says which features are missing or damaged, here and in `store`.
        """
        inputs = self.arrays[indicator].inputs()
        return dataclasses.replace(inputs, store=self.store(model, indicator)) if is_deep(model) else inputs

    def store(self, model: str, indicator: str) -> FeatureStore:
        """Open the store of a network's features."""
        arrays = self.arrays[indicator]
        spec = make_feature_spec(model, self.settings, arrays.geometry, self.seed)
        return FeatureStore.open(arrays.features, spec.key, arrays.hashes, arrays.subjects)


@dataclass(frozen=True, kw_only=True, eq=False)
class Job(ABC):
    """A piece of work that any process can do: it carries everything that it needs, and leaves files.

    Attributes
    ----------
    name
        What tells it from all other jobs.
    waits_for
        Names of the jobs that must have been done before.
    memory_gb
        Memory that it was measured to need (see docs/design-notes.md).
    """

    name: str
    workspace: Workspace
    waits_for: tuple[str, ...] = ()
    memory_gb: float = 1.0

    @abstractmethod
    def run(self) -> None:
        """Do the work, apart from what is there already, which is known by its files; a MigxaiError says why not."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Job:
        """Return itself: nipype copies all nodes at the start, and what is frozen need not be."""
        return self


@dataclass(frozen=True)
class FailedJob:
    """A job that could not be done, and why."""

    name: str
    error: MigxaiError

    def __str__(self) -> str:
        """Say so in a sentence."""
        return f"{self.name}: {self.error}"


class _RunJobInput(DynamicTraitedSpec, BaseInterfaceInputSpec):
    job = traits.Instance(Job, mandatory=True, desc="the work to do")


class _RunJobOutput(TraitedSpec):
    done = traits.Str(desc="name of the job, once it is done")


class RunJob(MeasuredInterface):
    """Run a job, whatever its kind; it has an input for each job that it waits for, which nipype fills."""

    input_spec = _RunJobInput
    output_spec = _RunJobOutput
    # What is there already is known by its files; nipype, which sees none of them, would take its own word for it.
    _always_run = True

    def __init__(self, job: Job) -> None:
        super().__init__(job=job)
        for place in range(len(job.waits_for)):
            self.inputs.add_trait(_awaited(place), traits.Str())

    def _run_interface(self, runtime: Any) -> Any:
        try:
            self.inputs.job.run()
        except MigxaiError as error:
            # nipype turns an exception into text on its way to the process that waits for it.
            with contextlib.suppress(MigxaiError):
                content = {"error": type(error).__name__, "message": " ".join(str(error).split())}
                write_json(Path(runtime.cwd) / _ERROR_FILE, content)
            raise
        self._results["done"] = self.inputs.job.name
        return runtime


def _awaited(place: int) -> str:
    return f"done_{place}"


def init_group_wf(jobs: Sequence[Job], base_dir: Path) -> pe.Workflow:
    """Make a node of each job, and an edge of each name that it waits for; `base_dir` holds files of nipype."""
    workflow = pe.Workflow(name=_WORKFLOW, base_dir=str(base_dir))
    nodes = {job.name: pe.Node(RunJob(job), name=node_name(job), mem_gb=job.memory_gb, n_procs=1) for job in jobs}
    workflow.add_nodes(list(nodes.values()))
    for job in jobs:
        for place, name in enumerate(job.waits_for):
            workflow.connect(nodes[name], "done", nodes[job.name], _awaited(place))
    return workflow


def node_name(job: Job) -> str:
    """Replace what nipype does not allow in the name of a node."""
    return re.sub(r"[^A-Za-z0-9_]", "_", job.name)


def run_jobs(
    jobs: Sequence[Job], config: Config, work: Path, room: tuple[int, float], report: Callable[[str], None]
) -> list[FailedJob]:
    """Run all jobs by the plugin that was asked for, or by processes of this machine; returns those that failed.

    Jobs that wait for a failed one are left out. `room` is how many processes and how much memory in GB may be used at
    once; `report` is told of each job that is done, in a sentence. A MigxaiError says that jobs cannot be run at all.
    """
    workflow, done = init_group_wf(jobs, work), 0
    # Errors of an earlier, resumed run are not those of this one.
    for old in (work / _WORKFLOW).glob(f"*/{_ERROR_FILE}"):
        old.unlink()

    def tell(name: str, status: str) -> None:
        nonlocal done
        if status == "end":
            done += 1
            report(f"{name.rpartition('.')[2].replace('_', ' ')}: done ({done} of {len(jobs)})")

    plugin: dict[str, Any]
    if config.run.use_plugin is None:
        plugin = {"plugin": PoolPlugin(*room, report=lambda node, status: tell(node.name, status))}
    else:
        plugin = read_plugin(config.run.use_plugin) | {"report": tell}
    logs = (config.run.work_dir or Path(str(config.run.output_dir)) / ".work") / "logs"
    outcome = execute(
        workflow,
        stop_on_first_crash=config.run.stop_on_first_crash,
        used_file=logs / "group_steps.json" if config.run.resource_monitor else None,
        **plugin,
    )
    return [_failed(crash, work / _WORKFLOW) for crash in outcome.crashes]


def _failed(crash: Crash, folder: Path) -> FailedJob:
    """Read the error that a job left; one whose process was killed left none but nipype's record of it."""
    name = crash.node.rpartition(".")[2]
    file = folder / name / _ERROR_FILE
    if not file.is_file():
        return FailedJob(name, crash.error)
    content = read_json(file)
    return FailedJob(name, getattr(errors, content["error"], MigxaiError)(content["message"]))
