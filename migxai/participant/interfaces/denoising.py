"""Make the confounds table, then take nuisance signals out of a series, band-pass and smooth it, in the order asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from migxai.bids.fmriprep import MOTION, read_confounds
from migxai.config import Config, Denoising
from migxai.data import TemplateName
from migxai.errors import DenoisingError, InputError
from migxai.indicators.registry import INDICATORS
from migxai.io import read_tsv, write_tsv
from migxai.participant.facts import AcquisitionFacts, DenoisingFacts, MotionFacts
from migxai.participant.interfaces.base import Step, inputs, load_array, load_image, outputs, save_array
from migxai.participant.resources import Memory
from migxai.registration.masks import tissue_compartment
from migxai.registration.resample import resample_to_grid
from migxai.registration.space import template_volume, voxel_sizes
from migxai.signal.denoising import DOF_MINIMUM, band_dimensions, bandpass, motion_expansion, nuisance_model, regress
from migxai.signal.maps import smooth
from migxai.signal.motion import (
    dvars,
    jenkinson_displacement,
    judge_motion,
    motion_matrices,
    motion_parameters,
    power_displacement,
)
from migxai.signal.timing import kept_volumes, require_unbroken

#: Deep in the tissue, so that partial volume with grey matter adds no signal of interest to a nuisance regressor.
#: The prior's CSF is what the brain mask leaves to neither grey nor white matter: without erosion the brain's edge
#: counts, and its ventricles are too narrow for the stricter threshold.
_COMPARTMENTS: dict[str, tuple[TemplateName, str, float, float]] = {
    "white_matter": ("WM", "white matter", 0.9, 2.0),
    "csf": ("CSF", "cerebrospinal fluid", 0.7, 2.0),
}


class MeasureConfounds(Step):
    """Motion, displacement, DVARS and tissue signals of an acquired run, a row a kept volume."""

    input_spec = inputs(
        config="value", series="file", mask="file", matrices="file", head_centre="value", acquisition="value"
    )
    output_spec = outputs(confounds="file", motion="value")
    memory = Memory(0.3, 2, in_template=True)

    def _make(self, folder: Path) -> dict[str, Any]:
        config: Config = self.inputs.config
        series = load_array(self.inputs.series)
        image, affine = load_image(self.inputs.mask)
        mask = image.astype(bool)
        matrices, centre = load_array(self.inputs.matrices), self.inputs.head_centre
        parameters = motion_parameters(matrices, centre)
        table = motion_table(parameters)
        table["framewise_displacement"] = power_displacement(parameters)
        table["rmsd"] = jenkinson_displacement(matrices, centre)
        table["dvars"], table["std_dvars"] = dvars(series)
        for column, wanted in (("white_matter", config.denoising.wm), ("csf", config.denoising.csf)):
            # A tissue signal that nobody asked for must not stop a run that covers too little of it.
            if wanted:
                table[column] = series[signal_compartment(column, mask, affine)].mean(axis=0, dtype=np.float64)
        table["global_signal"] = series.mean(axis=0, dtype=np.float64)
        return judge_volumes(table, parameters, config, self.inputs.acquisition, folder)


class ReadConfounds(Step):
    """The same columns from fMRIPrep's table."""

    input_spec = inputs(run="value", config="value", series="file", acquisition="value")
    output_spec = outputs(confounds="file", motion="value")
    memory = Memory(0.3, 2, in_template=True)

    def _make(self, folder: Path) -> dict[str, Any]:
        acquisition: AcquisitionFacts = self.inputs.acquisition
        path = self.inputs.run.confounds
        whole = read_confounds(path)
        total = acquisition.volumes + acquisition.discarded
        if len(whole) != total:
            raise InputError(f"{path.name} has {len(whole)} rows, but the BOLD run has {total} volumes.")
        found = whole.iloc[acquisition.discarded :].reset_index(drop=True)
        parameters = found[list(MOTION)].to_numpy(dtype=np.float64)
        table = motion_table(parameters)
        # Displacement is measured between neighbours, so the first volume kept has none, whatever came before it.
        table["framewise_displacement"] = power_displacement(parameters)
        table["rmsd"] = jenkinson_displacement(motion_matrices(parameters))
        table["dvars"], table["std_dvars"] = dvars(load_array(self.inputs.series))
        for column in ("white_matter", "csf", "global_signal"):
            if column in found:
                table[column] = found[column].to_numpy()
        return judge_volumes(table, parameters - parameters[0], self.inputs.config, acquisition, folder)


def motion_table(parameters: NDArray[np.float64]) -> pd.DataFrame:
    """Return the 24 motion terms under fMRIPrep's names."""
    columns, names = motion_expansion(parameters, 24)
    return pd.DataFrame(columns, columns=names)


def judge_volumes(
    table: pd.DataFrame, parameters: NDArray[np.float64], config: Config, acquisition: AcquisitionFacts, folder: Path
) -> dict[str, Any]:
    """Judge the motion, mark the volumes that the regression uses, and write the table."""
    options, limits = config.denoising, config.preprocessing
    verdict = judge_motion(parameters, limits.max_translation, limits.max_rotation)
    displacement = table["framewise_displacement"].to_numpy()
    kept = np.ones(len(table), dtype=bool)
    if options.fd_threshold is not None:
        tr = acquisition.repetition_time
        kept = kept_volumes(displacement, options.fd_threshold, repetition_time=tr, minimum_time=options.min_time)
        for stat in config.indicators.indicators:
            if INDICATORS[stat].spectral:
                require_unbroken(kept, INDICATORS[stat].title)
    table["kept"] = kept.astype(int)
    write_tsv(folder / "confounds.tsv", table)
    facts = MotionFacts(
        excluded=verdict.reason,
        max_translation=verdict.max_translation,
        max_rotation=verdict.max_rotation,
        mean_fd=float(np.nanmean(displacement)),
        mean_rmsd=float(np.nanmean(table["rmsd"])),
    )
    return {"confounds": str(folder / "confounds.tsv"), "motion": facts}


def nuisance_columns(table: pd.DataFrame, options: Denoising) -> tuple[str, ...]:
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
    return tuple(columns)


def signal_compartment(name: str, mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Voxels (V,) whose mean is the tissue signal ``white_matter`` or ``csf``.

    Raises
    ------
    DenoisingError
        If too few are left.
    """
    prior, words, threshold, erosion = _COMPARTMENTS[name]
    return tissue_compartment(template_volume(prior), mask, affine, name=words, threshold=threshold, erosion=erosion)


class Denoise(Step):
    """Write the two series (V, kept) that indicators are computed from (see `migxai.indicators.registry.Denoised`)."""

    input_spec = inputs(config="value", series="file", mask="file", confounds="file", acquisition="value")
    output_spec = outputs(unfiltered="file", filtered="file", denoising="value")
    memory = Memory(0.3, 2, in_template=True)

    def _make(self, folder: Path) -> dict[str, Any]:
        options: Denoising = self.inputs.config.denoising
        series, tr = load_array(self.inputs.series), self.inputs.acquisition.repetition_time
        image, affine = load_image(self.inputs.mask)
        mask, sizes = image.astype(bool), tuple(voxel_sizes(affine))
        table = read_tsv(Path(self.inputs.confounds), numbers=True)
        regressors = nuisance_columns(table, options)
        design = table[list(regressors)].to_numpy()
        kept = table["kept"].to_numpy().astype(bool)
        model = nuisance_model(design, tr, options.band, kept=kept)
        if options.order == "paper":
            # Band-pass, smooth, regress: the paper's order, with the nuisance columns as they are.
            smoothed = smooth(bandpass(series, tr, *options.band), mask, sizes, options.fwhm)
            filtered = unfiltered = save_array(folder / "filtered.npy", regress(smoothed, design))
        else:
            regressed = smooth(model.regressed(series), mask, sizes, options.fwhm)
            unfiltered = save_array(folder / "unfiltered.npy", regressed)
            del regressed
            filtered = save_array(folder / "filtered.npy", model.filtered(series))
        facts = DenoisingFacts(
            regressors=regressors,
            band_dimensions=model.band_dimensions,
            design_rank=model.design_rank,
            residual_dof=model.residual_dof,
            censored=int((~model.kept).sum()),
            warning=model.warning,
        )
        return {"unfiltered": unfiltered, "filtered": filtered, "denoising": facts}


def require_length(volumes: int, tr: float, config: Config, name: str) -> None:
    """Refuse a run that is too short for its band before hours are spent on it.

    Raises
    ------
    DenoisingError
        If the band has fewer dimensions than the degrees of freedom that must remain.
    """
    band = config.denoising.band
    dimensions = band_dimensions(volumes, tr, *band)
    if dimensions < DOF_MINIMUM:
        raise DenoisingError(
            f"{name} is too short: {volumes} volumes of {tr:g} s hold {dimensions} dimensions between "
            f"{' and '.join(f'{edge:g}' for edge in band)} Hz, and {DOF_MINIMUM} must remain after the nuisance "
            "regression."
        )


def tissue_classes(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Most probable tissue of each voxel, as three masks (V,) named GM, WM and CSF."""
    shape = (mask.shape[0], mask.shape[1], mask.shape[2])
    names: tuple[TemplateName, ...] = ("GM", "WM", "CSF")
    priors = []
    for name in names:
        volume = template_volume(name)
        priors.append(resample_to_grid(volume.data, volume.affine, target_affine=affine, target_shape=shape)[mask])
    likeliest = np.argmax(priors, axis=0)
    return {name: likeliest == place for place, name in enumerate(names)}
