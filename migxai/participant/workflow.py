"""The workflow of the participant level, from the outside in: subjects, their anatomy, their runs, the mean of runs.

``init_*_wf`` only wire steps together; what a step does stands in `migxai.participant.interfaces`.
"""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from migxai.bids.fmriprep import FmriprepRun
from migxai.bids.inputs import RawRun, Subject
from migxai.bids.names import parse_name, run_entities
from migxai.config import Config, Run
from migxai.errors import UsageError
from migxai.participant.interfaces.base import Step
from migxai.participant.interfaces.denoising import Denoise, MeasureConfounds, ReadConfounds
from migxai.participant.interfaces.derivatives import DrawRun, WriteAnatomy, WriteRun
from migxai.participant.interfaces.indicators import AverageRuns, ComputeIndicators
from migxai.participant.interfaces.preparation import PrepareBold, Realign, ResampleBold, ResampleFmriprep
from migxai.participant.interfaces.registration import CoregisterToT1w, ExtractBrain, NormaliseEpi, NormaliseT1w
from migxai.participant.resources import image_shape


def init_participant_wf(config: Config, subjects: Sequence[Subject]) -> pe.Workflow:
    """Put the workflows of several subjects side by side.

    Parameters
    ----------
    config
        The run's configuration, with its output and work directories.
    subjects
        Subjects that have runs.
    """
    workflow = pe.Workflow(name="migxai_wf", base_dir=str(config.run.work_dir))
    workflow.add_nodes([init_subject_wf(config, subject) for subject in subjects])
    return workflow


def init_subject_wf(config: Config, subject: Subject) -> pe.Workflow:
    """Process all runs of one subject.

    Runs that share a T1w share its normalisation. Runs that differ in ``run-`` alone are also averaged.

    Parameters
    ----------
    config
        The run's configuration.
    subject
        The subject and its runs.
    """
    workflow = pe.Workflow(name=f"sub_{subject.label}_wf")
    anatomies: dict[Path, pe.Workflow] = {}
    groups: dict[tuple[tuple[str, str], ...], list[pe.Workflow]] = defaultdict(list)
    for run in subject.runs:
        run_wf = init_run_wf(config, run, name=run_name(run.entities))
        workflow.add_nodes([run_wf])
        if isinstance(run, RawRun) and run.t1w is not None and uses_t1w(config, run):
            if run.t1w not in anatomies:
                anatomies[run.t1w] = init_anatomical_wf(config, run.t1w, run.sources, name=f"anat_{len(anatomies)}_wf")
            names = ("t1w", "t1w_mask", "t1w_to_template", "anatomy")
            pairs = [(f"outputnode.{name}", f"inputnode.{name}") for name in names]
            workflow.connect([(anatomies[run.t1w], run_wf, pairs)])
        if "run" in run.entities:
            without = {key: value for key, value in run_entities(run.entities).items() if key != "run"}
            groups[tuple(without.items())].append(run_wf)
    for number, (entities, members) in enumerate(groups.items()):
        _average(workflow, config, dict(entities), members, number)
    return workflow


def _average(
    workflow: pe.Workflow, config: Config, entities: dict[str, str], members: list[pe.Workflow], number: int
) -> None:
    folder = str(config.run.output_dir)
    average = _node(AverageRuns(config=for_steps(config), entities=entities, output_dir=folder), f"average_{number}")
    for item in ("maps", "regions", "mask", "facts"):
        merge = pe.Node(niu.Merge(len(members)), name=f"merge_{item}_{number}", run_without_submitting=True)
        for place, member in enumerate(members, 1):
            workflow.connect(member, f"outputnode.{item}", merge, f"in{place}")
        workflow.connect(merge, "out", average, item)


def init_anatomical_wf(config: Config, t1w: Path, sources: Sequence[str], name: str) -> pe.Workflow:
    """Extract the brain of a T1w image, normalise it to the packaged template, and write both as derivatives.

    Parameters
    ----------
    config
        The run's configuration.
    t1w
        The image.
    sources
        BIDS URIs of a run that goes with it, the image among them.
    name
        Name of the workflow.

    Outputs
    -------
    t1w, t1w_mask
        The T1w image and the mask of its brain.
    t1w_to_template
        The transform to the template.
    anatomy
        What was done (`AnatomyFacts`).
    """
    workflow = pe.Workflow(name=name)
    fields = ["t1w", "t1w_mask", "t1w_to_template", "anatomy"]
    outputs = pe.Node(niu.IdentityInterface(fields), name="outputnode")
    options, threads = config.preprocessing, config.run.omp_nthreads or 1
    extract = _node(ExtractBrain(t1w=str(t1w), options=options), "extract_brain", threads=threads)
    normalise = _node(NormaliseT1w(options=options), "normalise", threads=threads)
    write = _node(
        WriteAnatomy(
            output_dir=str(config.run.output_dir),
            entities=anat_entities(t1w.name),
            sources=[source for source in sources if source.endswith(t1w.name)],
        ),
        "write",
    )
    workflow.connect(
        [
            (extract, normalise, _same("image", "mask", "extraction")),
            (extract, write, _same("image", "mask")),
            (normalise, write, _same("to_template", "from_template", "anatomy")),
            (extract, outputs, [("image", "t1w"), ("mask", "t1w_mask")]),
            (normalise, outputs, [("to_template", "t1w_to_template"), ("anatomy", "anatomy")]),
        ]
    )
    return workflow


def init_run_wf(config: Config, run: RawRun | FmriprepRun, name: str) -> pe.Workflow:
    """Process one run, from its source, raw or fMRIPrep's, to derivatives and figures.

    Parameters
    ----------
    config
        The run's configuration.
    run
        An acquired run, or one that fMRIPrep preprocessed.
    name
        Name of the workflow.

    Inputs
    ------
    t1w, t1w_mask, t1w_to_template, anatomy
        Outputs of the anatomical workflow; undefined without a T1w, and after fMRIPrep.

    Outputs
    -------
    maps, regions, mask, facts
        What the mean over runs is made from; `facts` are `RunFacts`.
    """
    workflow = pe.Workflow(name=name)
    inputs = pe.Node(niu.IdentityInterface(["t1w", "t1w_mask", "t1w_to_template", "anatomy"]), name="inputnode")
    outputs = pe.Node(niu.IdentityInterface(["maps", "regions", "mask", "facts"]), name="outputnode")
    entities, folder = dict(run.entities), str(config.run.output_dir)
    numbers, size = for_steps(config), _size(config, run)
    denoise = _node(Denoise(config=numbers), "denoise", size)
    compute = _node(ComputeIndicators(config=numbers), "indicators", size)
    write = _node(WriteRun(config=numbers, entities=entities, output_dir=folder), "write", size)
    draw = _node(DrawRun(config=numbers, entities=entities, output_dir=folder), "draw", size)
    if isinstance(run, RawRun):
        source, place = init_raw_wf(config, run), "outputnode."
        confounds = _node(MeasureConfounds(config=numbers), "confounds", size)
        workflow.connect(
            [
                (source, confounds, _same("mask", "matrices", "head_centre", source=place)),
                (source, write, _same("transforms", source=place)),
            ]
        )
        if uses_t1w(config, run):
            names = ("t1w", "t1w_mask", "t1w_to_template")
            workflow.connect(
                [
                    (inputs, source, [(item, f"inputnode.{item}") for item in names]),
                    (inputs, draw, _same("anatomy")),
                    (source, draw, _same("t1w_brain", "epi_in_t1w", source=place)),
                ]
            )
    else:
        source, place = _node(ResampleFmriprep(run=run, config=numbers), "resample", size), ""
        confounds = _node(ReadConfounds(run=run, config=numbers), "confounds", size)
    workflow.connect(
        [
            (source, confounds, _same("series", "acquisition", source=place)),
            (source, denoise, _same("series", "mask", "acquisition", source=place)),
            (source, compute, _same("mask", "acquisition", "grid", source=place)),
            (source, write, _same("mask", "acquisition", "registration", "grid", source=place)),
            (source, draw, _same("series", "mask", "mean", source=place)),
            (confounds, denoise, _same("confounds")),
            (confounds, write, _same("confounds", "motion")),
            (confounds, draw, _same("confounds")),
            (denoise, compute, _same("unfiltered", "filtered")),
            (denoise, write, _same("filtered", "denoising")),
            (denoise, draw, _same("filtered")),
            (compute, write, _same("maps", "regions", "indicators")),
            (compute, draw, _same("maps", "regions")),
            (write, draw, _same("facts")),
            (compute, outputs, _same("maps", "regions")),
            (source, outputs, _same("mask", source=place)),
            (write, outputs, _same("facts")),
        ]
    )
    return workflow


def init_raw_wf(config: Config, run: RawRun, name: str = "raw_wf") -> pe.Workflow:
    """Drop, slice-time, realign, register and resample one acquired run.

    Parameters
    ----------
    config
        The run's configuration.
    run
        The acquired run.
    name
        Name of the workflow.

    Inputs
    ------
    t1w, t1w_mask, t1w_to_template
        Outputs of the anatomical workflow; undefined without a T1w.

    Outputs
    -------
    series, mask, mean
        Voxel series in template space, (V, T) float32 (.npy), where its rows lie, and its mean image.
    matrices, head_centre
        Motion, (T, 4, 4) (.npy), and the centre of the head in mm.
    transforms
        ITK files of motion and registration.
    t1w_brain, epi_in_t1w
        Images for the picture of the coregistration; undefined without a T1w.
    acquisition, registration, grid
        What was done (`AcquisitionFacts`, `RegistrationFacts`, `GridFacts`).

    Raises
    ------
    UsageError
        If the grid asked for is ``native``, which acquired data do not have in template space.
    """
    if config.preprocessing.resolution == "native":
        raise UsageError("--resolution native needs fMRIPrep's output; raw data are brought to a grid: give it in mm.")
    workflow = pe.Workflow(name=name)
    inputs = pe.Node(niu.IdentityInterface(["t1w", "t1w_mask", "t1w_to_template"]), name="inputnode")
    files = ["series", "mask", "mean", "matrices", "head_centre", "transforms", "t1w_brain", "epi_in_t1w"]
    outputs = pe.Node(niu.IdentityInterface([*files, "acquisition", "registration", "grid"]), name="outputnode")
    transforms = pe.Node(niu.Merge(2), name="transforms", run_without_submitting=True)
    options, threads, size = config.preprocessing, config.run.omp_nthreads or 1, _size(config, run)
    prepare = _node(PrepareBold(run=run, config=for_steps(config)), "prepare", size)
    realign = _node(Realign(), "realign", size, threads)
    if uses_t1w(config, run):
        register = _node(CoregisterToT1w(options=options), "coregister", size, threads)
        workflow.connect(
            [
                (inputs, register, _same("t1w", "t1w_mask", "t1w_to_template")),
                (register, outputs, _same("t1w_brain", "epi_in_t1w")),
            ]
        )
    else:
        register = _node(NormaliseEpi(options=options), "normalise_epi", size, threads)
    resample = _node(ResampleBold(options=options), "resample", size, threads)
    workflow.connect(
        [
            (prepare, realign, _same("bold")),
            (realign, register, [("mean", "epi"), ("mask", "epi_mask")]),
            (prepare, resample, _same("bold")),
            (realign, resample, [("matrices", "matrices"), ("mean", "epi"), ("mask", "epi_mask")]),
            (register, resample, _same("to_template")),
            (prepare, outputs, _same("acquisition")),
            (realign, transforms, [("transforms", "in1")]),
            (register, transforms, [("transforms", "in2")]),
            (transforms, outputs, [("out", "transforms")]),
            (realign, outputs, _same("matrices", "head_centre")),
            (register, outputs, _same("registration")),
            (resample, outputs, _same("series", "mask", "mean", "grid")),
        ]
    )
    return workflow


Size = tuple[tuple[int, ...], float | None]


def _size(config: Config, run: RawRun | FmriprepRun) -> Size:
    """Return the shape of a run and the resolution of its maps in mm, which the memory of its steps depends on."""
    resolution = config.preprocessing.resolution
    return image_shape(run.bold), None if resolution == "native" else float(resolution)


def _node(step: Step, name: str, size: Size = ((), None), threads: int | None = None) -> pe.Node:
    """Make a step's node, which asks for the memory that the step names."""
    return pe.Node(step, name=name, mem_gb=step.memory.gb(*size), n_procs=threads)


def _same(*names: str, source: str = "") -> list[tuple[str, str]]:
    """Connect outputs with the inputs of the same names; `source` stands before those of a workflow."""
    return [(f"{source}{name}", name) for name in names]


def for_steps(config: Config) -> Config:
    """Return what of a configuration the steps are to know.

    What belongs to the machine would make them another step in nipype's eyes: a run that was killed, and is started
    again with more memory, would begin anew.
    """
    selection = dataclasses.replace(config.selection, participant_label=())
    return dataclasses.replace(config, run=Run(), selection=selection)


def uses_t1w(config: Config, run: RawRun) -> bool:
    """Whether a run is normalised through its T1w."""
    return run.t1w is not None and config.preprocessing.anat != "none"


def run_name(entities: dict[str, str]) -> str:
    """Name of a run's workflow: its entities, in characters that nipype allows."""
    parts = [f"{key}_{value}" for key, value in run_entities(entities).items() if key != "sub"]
    return re.sub(r"[^A-Za-z0-9_]", "p", "_".join([*parts, "wf"]))


def anat_entities(name: str) -> dict[str, str]:
    """Entities that the derivatives of a T1w image keep."""
    parsed = parse_name(name)
    keep = ("sub", "ses", "acq", "ce", "rec", "run")
    return {key: value for key, value in (parsed.entities if parsed else {}).items() if key in keep}
