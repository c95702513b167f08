"""Bring a series to the grid of its maps, interpolated once: an acquired one, or one that fMRIPrep preprocessed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.bids.bold import clean_bold, load_bold, repetition_time
from migxai.bids.fmriprep import FmriprepRun, count_non_steady_state, read_confounds
from migxai.bids.inputs import RawRun
from migxai.config import Config, Preprocessing
from migxai.data import SPACE
from migxai.errors import ImageError, RegistrationError, TimingError
from migxai.participant.facts import AcquisitionFacts, GridFacts, RegistrationFacts
from migxai.participant.interfaces.base import (
    Step,
    inputs,
    load_array,
    load_chain,
    load_image,
    load_volume,
    outputs,
    save_array,
    save_image,
)
from migxai.participant.interfaces.denoising import require_length
from migxai.participant.resources import Memory
from migxai.registration.masks import brain_mask_in_target, epi_brain_mask, template_grid
from migxai.registration.realignment import realign
from migxai.registration.resample import resample_series, resample_to_grid
from migxai.registration.space import Volume, mask_centre, save_affines, template_volume, voxel_sizes
from migxai.signal.timing import check_slice_timing, correct_slice_timing, count_non_steady_volumes, slice_axis

logger = logging.getLogger("migxai")

#: Volumes in the mean image, spread evenly over the run: more would only cost time.
MEAN_VOLUMES = 32
#: Below this share of the template's brain a run is useless.
COVERAGE_MINIMUM = 0.3


class PrepareBold(Step):
    """Check a run, drop the volumes before the steady state, and bring all slices to one moment."""

    input_spec = inputs(run="value", config="value")
    output_spec = outputs(bold="file", acquisition="value")
    memory = Memory(0.3, 5)

    def _make(self, folder: Path) -> dict[str, Any]:
        run: RawRun = self.inputs.run
        config: Config = self.inputs.config
        options = config.preprocessing
        data, affine, header, odd = load_bold(run.bold)
        tr, tr_messages = repetition_time(run.bold, header, run.metadata, override=options.repetition_time)
        messages = [*run.messages, *odd, *clean_bold(data, run.bold.name), *tr_messages]
        discarded = volumes_to_drop(data, options, run.bold.name)
        kept = data[..., discarded:]
        require_length(kept.shape[3], tr, config, run.bold.name)
        note, corrected = time_slices(kept, run.metadata, tr, options, run.bold.name)
        messages += [] if corrected else [note]
        for message in messages:
            logger.info("%s", message)
        facts = AcquisitionFacts(
            "raw", tuple(run.sources), tr, kept.shape[3], discarded, tuple(messages), corrected, note
        )
        return {"bold": save_image(folder / "bold.nii", kept, affine), "acquisition": facts}


def volumes_to_drop(data: NDArray[np.float32], options: Preprocessing, name: str) -> int:
    """Settle how many volumes at the start are dropped; ImageError if that leaves none."""
    wanted = options.dummy_scans
    if wanted == "auto":
        signal = np.array([data[..., volume].mean(dtype=np.float64) for volume in range(data.shape[3])])
        wanted = count_non_steady_volumes(signal)
    if wanted >= data.shape[3]:
        raise ImageError(f"{name} has {data.shape[3]} volumes, and {wanted} are to be dropped; see --dummy-scans.")
    return wanted


def time_slices(
    data: NDArray[np.float32], metadata: dict[str, Any], tr: float, options: Preprocessing, name: str
) -> tuple[str, bool]:
    """Correct slice times in place where the sidecar allows it; say what was done or why not, and whether it was done.

    It raises TimingError if it can't be done and ``--slice-timing force`` asks for it.
    """
    if options.slice_timing == "off":
        return f"{name}: slice times are not corrected, as asked (--slice-timing off).", False
    times, direction = metadata.get("SliceTiming"), metadata.get("SliceEncodingDirection", "k")
    try:
        if times is None:
            raise TimingError("There is no SliceTiming in its JSON.")
        check_slice_timing(times, data.shape[slice_axis(direction)[0]], tr)
    except TimingError as error:
        if options.slice_timing == "force":
            raise TimingError(
                f"{name}: {error} Slice times can't be corrected, and --slice-timing force asks."
            ) from error
        return f"{name}: slice times are not corrected. {error}", False
    correct_slice_timing(data, times, tr, direction=direction, reference=options.slice_time_ref, out=data)
    return f"Slices interpolated to {options.slice_time_ref:g} of the repetition time.", True


class Realign(Step):
    """Estimate head motion, (T, 4, 4); average realigned volumes; find the brain in the average, and its centre."""

    input_spec = inputs(bold="file")
    output_spec = outputs(matrices="file", transforms="files", mean="file", mask="file", head_centre="value")
    memory = Memory(0.5, 11)

    def _make(self, folder: Path) -> dict[str, Any]:
        data, affine = load_image(self.inputs.bold)
        matrices = realign(data, affine)
        mean = mean_image(data, affine, matrices)
        mask = epi_brain_mask(mean)
        transforms = str(folder / "from-orig_to-boldref.txt")
        save_affines(matrices, transforms)
        return {
            "matrices": save_array(folder / "matrices.npy", matrices),
            "transforms": [transforms],
            "mean": save_image(folder / "mean.nii", mean.data, affine),
            "mask": save_image(folder / "mask.nii", mask.data.astype(np.uint8), affine),
            "head_centre": [float(value) for value in mask_centre(mask)],
        }


def mean_image(data: NDArray[Any], affine: NDArray[np.float64], matrices: NDArray[np.float64]) -> Volume:
    """Mean of evenly spread volumes, moved to where the first one lies."""
    chosen = np.unique(np.linspace(0, data.shape[3] - 1, MEAN_VOLUMES).astype(int))
    everywhere = np.ones(data.shape[:3], dtype=bool)
    total = np.zeros(everywhere.size)
    for volume in chosen:
        one = slice(volume, volume + 1)
        moved, _ = resample_series(data[..., one], affine, mask=everywhere, mask_affine=affine, motion=matrices[one])
        total += moved[:, 0]
    return Volume((total / len(chosen)).reshape(everywhere.shape).astype(np.float32), affine)


class ResampleBold(Step):
    """Compose motion, coregistration and normalisation; interpolate once, inside the template's brain: (V, T)."""

    input_spec = inputs(bold="file", matrices="file", to_template="file", epi="file", epi_mask="file", options="value")
    output_spec = outputs(series="file", mask="file", mean="file", grid="value")
    memory = Memory(0.3, 8)

    def _make(self, folder: Path) -> dict[str, Any]:
        files, resolution = self.inputs, float(self.inputs.options.resolution)
        chain = load_chain(files.to_template)
        template_mask = template_volume("mask")
        affine, shape = template_grid(template_mask.affine, template_mask.shape, resolution)
        brain = brain_mask_in_target(template_mask, affine, shape)
        bold, bold_affine = load_image(files.bold)
        series, inside = resample_series(
            bold, bold_affine, mask=brain, mask_affine=affine, chain=chain, motion=load_array(files.matrices)
        )
        epi_mask = load_volume(files.epi_mask)
        in_epi = resample_to_grid(epi_mask.data, epi_mask.affine, target_affine=affine, target_shape=shape, chain=chain)
        keep = inside & (in_epi[brain] >= 0.5) & (np.ptp(series, axis=1) > 0)
        mask = brain.copy()
        mask[brain] = keep
        facts = GridFacts(SPACE, resolution, require_coverage(float(keep.mean())))
        epi = load_volume(files.epi)
        mean = resample_to_grid(epi.data, epi.affine, target_affine=affine, target_shape=shape, chain=chain)
        return {
            "series": save_array(folder / "series.npy", series if keep.all() else series[keep]),
            "mask": save_image(folder / "mask.nii", mask.astype(np.uint8), affine),
            "mean": save_image(folder / "mean.nii", mean, affine),
            "grid": facts,
        }


def require_coverage(covered: float) -> float:
    """Return the share of the template's brain that a run covers; RegistrationError if it is too little."""
    if covered < COVERAGE_MINIMUM:
        raise RegistrationError(
            f"The run covers only {covered:.0%} of the template's brain; its field of view, its brain mask or its "
            "registration is wrong."
        )
    return covered


class ResampleFmriprep(Step):
    """Load a run in an MNI152 space, drop its first volumes, and resample it to ``--resolution``."""

    input_spec = inputs(run="value", config="value")
    output_spec = outputs(
        series="file", mask="file", mean="file", acquisition="value", registration="value", grid="value"
    )
    memory = Memory(0.3, 8)

    def _make(self, folder: Path) -> dict[str, Any]:
        run: FmriprepRun = self.inputs.run
        options = self.inputs.config.preprocessing
        data, affine, header, odd = load_bold(run.bold)
        tr, messages = repetition_time(
            run.bold, header, run.metadata, override=options.repetition_time, header_suffices=True
        )
        notes = [*run.messages, *odd, *clean_bold(data, run.bold.name), *messages]
        discarded, more = drop_with_fmriprep(run, options, data)
        data = data[..., discarded:]
        require_length(data.shape[3], tr, self.inputs.config, run.bold.name)
        native, more_notes = brain_mask(run, Volume(mean_over_time(data), affine))
        series, mask, grid = to_resolution(data, native, options.resolution)
        mean = resample_to_grid(mean_over_time(data), affine, target_affine=grid, target_shape=mask.shape)
        notes += [*more, *more_notes]
        template = brain_mask_in_target(template_volume("mask"), grid, mask.shape)
        unchanged = options.resolution == "native"
        resolution = grid_words(grid) if unchanged else float(options.resolution)
        facts = GridFacts(run.space, resolution, require_coverage(float(mask[template].mean())))
        for message in (*notes, *facts.warnings):
            logger.info("%s", message)
        return {
            "series": save_array(folder / "series.npy", series),
            "mask": save_image(folder / "mask.nii", mask.astype(np.uint8), grid),
            "mean": save_image(folder / "mean.nii", mean, grid),
            "acquisition": AcquisitionFacts("fmriprep", tuple(run.sources), tr, data.shape[3], discarded, tuple(notes)),
            "registration": RegistrationFacts("none here: fMRIPrep's grid" if unchanged else "one after fMRIPrep's"),
            "grid": facts,
        }


def drop_with_fmriprep(run: FmriprepRun, options: Preprocessing, data: NDArray[np.float32]) -> tuple[int, list[str]]:
    """Drop as many volumes as asked for, and never fewer than fMRIPrep found outside the steady state."""
    found = count_non_steady_state(read_confounds(run.confounds))
    if options.dummy_scans == "auto":
        return found, []
    asked = volumes_to_drop(data, options, run.bold.name)
    if found > asked:
        return found, [f"{run.bold.name}: fMRIPrep marks {found} volumes as non-steady; they are dropped."]
    return asked, []


def mean_over_time(data: NDArray[Any]) -> NDArray[np.float32]:
    """Mean of a series (X, Y, Z, T), volume by volume, so that no second copy of it is held."""
    total = np.zeros(data.shape[:3])
    for volume in range(data.shape[3]):
        total += data[..., volume]
    mean: NDArray[np.float32] = (total / data.shape[3]).astype(np.float32)
    return mean


def brain_mask(run: FmriprepRun, mean: Volume) -> tuple[Volume, list[str]]:
    """Return fMRIPrep's brain mask, or one made from the mean image where there is none.

    Raises
    ------
    ImageError
        If the mask is empty, has another grid, or misses the data.
    """
    if run.mask is None:
        return epi_brain_mask(mean), [f"{run.bold.name} has no brain mask; one was made from the mean image."]
    data, affine = load_image(str(run.mask))
    if data.shape != mean.shape or not np.allclose(affine, mean.affine, atol=1e-3):
        raise ImageError(f"{run.mask.name} has another grid than {run.bold.name}; run fMRIPrep again.")
    inside = data > 0
    filled = float((mean.data[inside] != 0).mean()) if inside.any() else 0.0
    if filled < 0.5:
        raise ImageError(f"{run.mask.name} misses the data: {filled:.0%} of its voxels have any signal.")
    return mean.with_data(inside), []


def to_resolution(
    data: NDArray[np.float32], brain: Volume, resolution: float | str
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64]]:
    """Take a series to a grid: its own (``"native"``), or an isotropic one with the same field of view.

    Returned are the series (V, T), rows in C order of the mask, the mask (X, Y, Z) and the grid's affine.
    """
    if resolution == "native":
        inside = brain.data.astype(bool)
        varies = np.ptp(data[inside], axis=1) > 0
        inside[inside] = varies
        return data[inside], inside, brain.affine
    grid, shape = template_grid(brain.affine, brain.shape, float(resolution))
    share = resample_to_grid(brain.data.astype(np.float32), brain.affine, target_affine=grid, target_shape=shape)
    mask = share >= 0.5
    series, inside = resample_series(data, brain.affine, mask=mask, mask_affine=grid)
    keep = inside & (np.ptp(series, axis=1) > 0)
    mask[mask] = keep
    return series[keep], mask, grid


def grid_words(affine: NDArray[np.float64]) -> str:
    """Voxel sizes in words, for a grid that keeps the input's resolution."""
    return "fMRIPrep's own grid, " + " x ".join(f"{size:g}" for size in voxel_sizes(affine)) + " mm"
