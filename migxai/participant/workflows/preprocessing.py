"""From an acquired run to a series in template space: one small workflow a step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from migxai.bids.fmriprep import FmriprepRun
from migxai.bids.inputs import RawRun
from migxai.config import Config, Run
from migxai.errors import UsageError
from migxai.participant.interfaces.base import Step
from migxai.participant.interfaces.coregistration import CoregisterToT1w, NormaliseEpi
from migxai.participant.interfaces.motion import Realign
from migxai.participant.interfaces.preparation import PrepareBold
from migxai.participant.interfaces.resampling import ResampleBold
from migxai.participant.resources import image_shape

_OUTPUTS = (
    "series",
    "mask",
    "mean",
    "matrices",
    "motion_transforms",
    "registration_transforms",
    "t1w_brain",
    "epi_in_t1w",
    "facts",
)


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
        Of the anatomical workflow; undefined without a T1w.

    Outputs
    -------
    series
        Voxel series in template space, (V, T) float32 (.npy).
    mask
        Where its rows lie.
    mean
        Mean image in template space.
    matrices
        Motion, (T, 4, 4) (.npy).
    motion_transforms, registration_transforms
        ITK files.
    t1w_brain, epi_in_t1w
        For the picture of the coregistration; undefined without a T1w.
    facts
        What was done.

    Raises
    ------
    UsageError
        If the grid asked for is ``native``, which acquired data do not have in template space.
    """
    if config.preprocessing.resolution == "native":
        raise UsageError("--resolution native needs fMRIPrep's output; raw data are brought to a grid: give it in mm.")
    workflow = pe.Workflow(name=name)
    inputs = pe.Node(niu.IdentityInterface(["t1w", "t1w_mask", "t1w_to_template"]), name="inputnode")
    outputs = pe.Node(niu.IdentityInterface(list(_OUTPUTS)), name="outputnode")
    threads = config.run.omp_nthreads or 1
    options, need = config.preprocessing, memory_of(config, run)
    prepare = pe.Node(PrepareBold(run=run, config=for_steps(config)), name="prepare", mem_gb=need(PrepareBold))
    realign = pe.Node(Realign(), name="realign", mem_gb=need(Realign), n_procs=threads)
    through_t1w = uses_t1w(config, run)
    register = pe.Node(
        (CoregisterToT1w if through_t1w else NormaliseEpi)(options=options),
        name="coregister" if through_t1w else "normalise_epi",
        mem_gb=CoregisterToT1w.memory.gb(),
        n_procs=threads,
    )
    resample = pe.Node(ResampleBold(options=options), name="resample", mem_gb=need(ResampleBold), n_procs=threads)
    workflow.connect(
        [
            (prepare, realign, [("bold", "bold"), ("facts", "facts")]),
            (realign, register, [("mean", "epi"), ("mask", "epi_mask"), ("facts", "facts")]),
            (prepare, resample, [("bold", "bold")]),
            (realign, resample, [("matrices", "matrices"), ("mean", "epi"), ("mask", "epi_mask")]),
            (register, resample, [("to_template", "to_template"), ("facts", "facts")]),
            (resample, outputs, [(item, item) for item in ("series", "mask", "mean", "facts")]),
            (realign, outputs, [("matrices", "matrices"), ("transforms", "motion_transforms")]),
            (register, outputs, [("transforms", "registration_transforms")]),
        ]
    )
    if through_t1w:
        workflow.connect(
            [
                (inputs, register, [(item, item) for item in ("t1w", "t1w_mask", "t1w_to_template")]),
                (register, outputs, [("t1w_brain", "t1w_brain"), ("epi_in_t1w", "epi_in_t1w")]),
            ]
        )
    return workflow


def memory_of(config: Config, run: RawRun | FmriprepRun) -> Callable[[type[Step]], float]:
    """Return the function that tells what memory a step of a run needs, in GB."""
    shape, asked = image_shape(run.bold), config.preprocessing.resolution
    resolution = None if asked == "native" else float(asked)
    return lambda step: step.memory.gb(shape, resolution)


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
