"""Read a run that fMRIPrep preprocessed, and bring it to the grid asked for, once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.bids.bold import clean_bold, load_bold, repetition_time
from migxai.bids.fmriprep import FmriprepRun, count_non_steady_state, read_confounds
from migxai.config import Preprocessing
from migxai.errors import ImageError
from migxai.participant.facts import AcquisitionFacts, GridFacts, RegistrationFacts
from migxai.participant.interfaces.acquired import require_coverage, volumes_to_drop
from migxai.participant.interfaces.base import Step, inputs, load_image, outputs, save_array, save_image
from migxai.participant.interfaces.denoising import require_length
from migxai.participant.resources import Memory
from migxai.registration.masks import brain_mask_in_target, epi_brain_mask, template_grid
from migxai.registration.resample import resample_series, resample_to_grid
from migxai.registration.space import Volume, template_volume, voxel_sizes

logger = logging.getLogger("migxai")


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

    Returns
    -------
    series
        (V, T), rows in C order of the mask.
    mask
        (X, Y, Z).
    affine
        Of the grid, (4, 4).
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
