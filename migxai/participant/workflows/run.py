"""One BOLD run: from its source, raw or fMRIPrep's, to derivatives and figures."""

from __future__ import annotations

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from migxai.bids.fmriprep import FmriprepRun
from migxai.bids.inputs import RawRun
from migxai.config import Config
from migxai.participant.interfaces.confounds import MeasureConfounds, ReadConfounds
from migxai.participant.interfaces.denoising import Denoise
from migxai.participant.interfaces.derivatives import WriteRun
from migxai.participant.interfaces.fmriprep import ResampleFmriprep
from migxai.participant.interfaces.indicators import ComputeIndicators
from migxai.participant.interfaces.reports import DrawRun
from migxai.participant.workflows.preprocessing import for_steps, init_raw_wf, memory_of, uses_t1w

_SERIES = ("series", "mask", "facts")


def init_run_wf(config: Config, run: RawRun | FmriprepRun, name: str) -> pe.Workflow:
    """Process one run and write its derivatives.

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
    t1w, t1w_mask, t1w_to_template, anat_facts
        Of the anatomical workflow; undefined without a T1w, and after fMRIPrep.

    Outputs
    -------
    maps, regions, mask, facts
        What the mean over runs is made from.
    """
    workflow = pe.Workflow(name=name)
    inputs = pe.Node(niu.IdentityInterface(["t1w", "t1w_mask", "t1w_to_template", "anat_facts"]), name="inputnode")
    outputs = pe.Node(niu.IdentityInterface(["maps", "regions", "mask", "facts"]), name="outputnode")
    entities, folder, numbers = dict(run.entities), str(config.run.output_dir), for_steps(config)
    need = memory_of(config, run)
    denoise = pe.Node(Denoise(config=numbers), name="denoise", mem_gb=need(Denoise))
    compute = pe.Node(ComputeIndicators(config=numbers), name="indicators", mem_gb=need(ComputeIndicators))
    write = pe.Node(WriteRun(config=numbers, entities=entities, output_dir=folder), name="write", mem_gb=need(WriteRun))
    draw = pe.Node(DrawRun(config=numbers, entities=entities, output_dir=folder), name="draw", mem_gb=need(DrawRun))
    if isinstance(run, RawRun):
        confounds = _connect_raw(workflow, config, run, inputs, (denoise, write, draw))
    else:
        confounds = _connect_fmriprep(workflow, config, run, (denoise, draw))
    workflow.connect(
        [
            (confounds, denoise, [("confounds", "confounds"), ("facts", "facts")]),
            (denoise, compute, [(item, item) for item in ("unfiltered", "filtered", "mask", "facts")]),
            (denoise, write, [("filtered", "filtered"), ("mask", "mask"), ("confounds", "confounds")]),
            (compute, write, [("maps", "maps"), ("regions", "regions"), ("facts", "facts")]),
            (denoise, draw, [("filtered", "filtered"), ("mask", "mask"), ("confounds", "confounds")]),
            (compute, draw, [("maps", "maps"), ("regions", "regions")]),
            (write, draw, [("facts", "facts")]),
            (compute, outputs, [("maps", "maps"), ("regions", "regions")]),
            (denoise, outputs, [("mask", "mask")]),
            (write, outputs, [("facts", "facts")]),
        ]
    )
    return workflow


def _connect_raw(
    workflow: pe.Workflow, config: Config, run: RawRun, inputs: pe.Node, sinks: tuple[pe.Node, pe.Node, pe.Node]
) -> pe.Node:
    """Put the preprocessing of an acquired run in front; returns the node that makes the confounds."""
    denoise, write, draw = sinks
    source = init_raw_wf(config, run)
    confounds = pe.Node(
        MeasureConfounds(config=for_steps(config)), name="confounds", mem_gb=memory_of(config, run)(MeasureConfounds)
    )
    transforms = pe.Node(niu.Merge(2), name="transforms", run_without_submitting=True)
    workflow.connect(
        [
            (source, confounds, [(f"outputnode.{item}", item) for item in (*_SERIES, "matrices")]),
            (source, denoise, [("outputnode.series", "series"), ("outputnode.mask", "mask")]),
            (source, draw, [("outputnode.series", "series"), ("outputnode.mean", "mean")]),
            (source, transforms, [("outputnode.motion_transforms", "in1")]),
            (source, transforms, [("outputnode.registration_transforms", "in2")]),
            (transforms, write, [("out", "transforms")]),
        ]
    )
    if uses_t1w(config, run):
        names = ("t1w", "t1w_mask", "t1w_to_template")
        workflow.connect(
            [
                (inputs, source, [(item, f"inputnode.{item}") for item in names]),
                (inputs, draw, [("anat_facts", "anat_facts")]),
                (source, draw, [(f"outputnode.{item}", item) for item in ("t1w_brain", "epi_in_t1w")]),
            ]
        )
    return confounds


def _connect_fmriprep(
    workflow: pe.Workflow, config: Config, run: FmriprepRun, sinks: tuple[pe.Node, pe.Node]
) -> pe.Node:
    """Put the reading of fMRIPrep's output in front; returns the node that makes the confounds."""
    denoise, draw = sinks
    source = pe.Node(
        ResampleFmriprep(run=run, config=for_steps(config)),
        name="resample",
        mem_gb=memory_of(config, run)(ResampleFmriprep),
    )
    confounds = pe.Node(
        ReadConfounds(run=run, config=for_steps(config)), name="confounds", mem_gb=memory_of(config, run)(ReadConfounds)
    )
    workflow.connect(
        [
            (source, confounds, [("series", "series"), ("facts", "facts")]),
            (source, denoise, [("series", "series"), ("mask", "mask")]),
            (source, draw, [("series", "series"), ("mean", "mean")]),
        ]
    )
    return confounds
