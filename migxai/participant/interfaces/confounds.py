"""Make the confounds table: measured on an acquired run, or read from fMRIPrep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from migxai.bids.fmriprep import MOTION, read_confounds
from migxai.config import Config, Denoising
from migxai.errors import InputError
from migxai.indicators.registry import find_indicator
from migxai.io import write_tsv
from migxai.participant.interfaces.base import BaseInterfaceInputSpec, Step, TraitedSpec, load_array, load_image, traits
from migxai.participant.interfaces.tissues import signal_compartment
from migxai.participant.resources import Memory
from migxai.signal.censoring import kept_volumes, require_unbroken
from migxai.signal.motion import (
    dvars,
    jenkinson_displacement,
    judge_motion,
    motion_matrices,
    motion_parameters,
    power_displacement,
)
from migxai.signal.nuisance import motion_expansion

Facts = dict[str, Any]


class ConfoundsOutput(TraitedSpec):  # noqa: D101
    confounds = traits.File(exists=True)
    facts = traits.Dict()


class MeasureConfoundsInput(BaseInterfaceInputSpec):  # noqa: D101
    config = traits.Any(mandatory=True)
    series = traits.File(exists=True, mandatory=True)
    mask = traits.File(exists=True, mandatory=True)
    matrices = traits.File(exists=True, mandatory=True)
    facts = traits.Dict(mandatory=True)


class MeasureConfounds(Step):
    """Motion, displacement, DVARS and tissue signals of an acquired run, a row a kept volume."""

    input_spec = MeasureConfoundsInput
    output_spec = ConfoundsOutput
    memory = Memory(0.3, 2, in_template=True)

    def _run_interface(self, runtime: Any) -> Any:
        config: Config = self.inputs.config
        series = load_array(self.inputs.series)
        image, affine = load_image(self.inputs.mask)
        mask = image.astype(bool)
        matrices, centre = load_array(self.inputs.matrices), self.inputs.facts["head_centre"]
        parameters = motion_parameters(matrices, centre)
        table, _ = motion_table(parameters)
        table["framewise_displacement"] = power_displacement(parameters)
        table["rmsd"] = jenkinson_displacement(matrices, centre)
        table["dvars"], table["std_dvars"] = dvars(series)
        for column, wanted in (("white_matter", config.denoising.wm), ("csf", config.denoising.csf)):
            # A tissue signal that nobody asked for must not stop a run that covers too little of it.
            if wanted:
                table[column] = series[signal_compartment(column, mask, affine)].mean(axis=0, dtype=np.float64)
        table["global_signal"] = series.mean(axis=0, dtype=np.float64)
        facts = dict(self.inputs.facts)
        finish(self, runtime, table, parameters, config, facts)
        return runtime


class ReadConfoundsInput(BaseInterfaceInputSpec):  # noqa: D101
    run = traits.Any(mandatory=True)
    config = traits.Any(mandatory=True)
    series = traits.File(exists=True, mandatory=True)
    facts = traits.Dict(mandatory=True)


class ReadConfounds(Step):
    """The same columns from fMRIPrep's table."""

    input_spec = ReadConfoundsInput
    output_spec = ConfoundsOutput
    memory = Memory(0.3, 2, in_template=True)

    def _run_interface(self, runtime: Any) -> Any:
        config: Config = self.inputs.config
        facts = dict(self.inputs.facts)
        path = self.inputs.run.confounds
        whole = read_confounds(path)
        total = facts["volumes"] + facts["discarded"]
        if len(whole) != total:
            raise InputError(f"{path.name} has {len(whole)} rows, but the BOLD run has {total} volumes.")
        found = whole.iloc[facts["discarded"] :].reset_index(drop=True)
        parameters = found[list(MOTION)].to_numpy(dtype=np.float64)
        table, _ = motion_table(parameters)
        # Displacement is measured between neighbours, so the first volume kept has none, whatever came before it.
        table["framewise_displacement"] = power_displacement(parameters)
        table["rmsd"] = jenkinson_displacement(motion_matrices(parameters))
        table["dvars"], table["std_dvars"] = dvars(load_array(self.inputs.series))
        for column in ("white_matter", "csf", "global_signal"):
            if column in found:
                table[column] = found[column].to_numpy()
        finish(self, runtime, table, parameters - parameters[0], config, facts)
        return runtime


def motion_table(parameters: NDArray[np.float64]) -> tuple[pd.DataFrame, list[str]]:
    """Return the 24 motion terms under fMRIPrep's names, and the names."""
    columns, names = motion_expansion(parameters, 24)
    return pd.DataFrame(columns, columns=names), names


def finish(
    step: Step, runtime: Any, table: pd.DataFrame, parameters: NDArray[np.float64], config: Config, facts: Facts
) -> None:
    """Judge the motion, choose the volumes and columns of the regression, and write the table."""
    options = config.denoising
    verdict = judge_motion(parameters, config.preprocessing.max_translation, config.preprocessing.max_rotation)
    displacement = table["framewise_displacement"].to_numpy()
    kept = np.ones(len(table), dtype=bool)
    if options.fd_threshold is not None:
        tr = facts["repetition_time"]
        kept = kept_volumes(displacement, options.fd_threshold, repetition_time=tr, minimum_time=options.min_time)
        for stat in config.indicators.indicators:
            if find_indicator(stat).spectral:
                require_unbroken(kept, find_indicator(stat).name)
    table["kept"] = kept.astype(int)
    facts |= {
        "excluded": verdict.reason,
        "max_translation": verdict.max_translation,
        "max_rotation": verdict.max_rotation,
        "mean_fd": float(np.nanmean(displacement)),
        "mean_rmsd": float(np.nanmean(table["rmsd"])),
        "nuisance_regressors": nuisance_columns(table, options),
    }
    path = step._path(runtime, "confounds.tsv")
    write_tsv(Path(path), table)
    step._results["confounds"] = path
    step._results["facts"] = facts


def nuisance_columns(table: pd.DataFrame, options: Denoising) -> list[str]:
    """Name the columns that are regressed out.

    Raises
    ------
    InputError
        If the table lacks one of them.
    """
    columns = motion_expansion(np.zeros((2, 6)), options.motion_terms)[1]
    wanted = {"white_matter": options.wm, "csf": options.csf, "global_signal": options.gsr}
    columns += [name for name, use in wanted.items() if use]
    missing = [name for name in columns if name not in table]
    if missing:
        raise InputError(f"The confounds table lacks {', '.join(missing)}; run fMRIPrep again or leave them out.")
    return columns
