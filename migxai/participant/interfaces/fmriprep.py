"""Read a run that fMRIPrep preprocessed, and bring it to the grid asked for, once."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.bids.bold import clean_bold, load_bold, repetition_time
from migxai.bids.fmriprep import FmriprepRun, count_non_steady_state, read_confounds
from migxai.config import Config
from migxai.errors import ImageError
from migxai.participant.interfaces.base import BaseInterfaceInputSpec, Step, load_image, packaged_volume, traits
from migxai.participant.interfaces.preparation import require_length, volumes_to_drop
from migxai.participant.interfaces.resampling import ResampleOutput, mean_over_time, with_coverage
from migxai.participant.resources import Memory
from migxai.registration.masks import brain_mask_in_target, epi_brain_mask, template_grid
from migxai.registration.resample import resample_series, resample_to_grid
from migxai.registration.volume import Volume, voxel_sizes

logger = logging.getLogger("migxai")


class ResampleFmriprepInput(BaseInterfaceInputSpec):  # noqa: D101
    run = traits.Any(mandatory=True)
    config = traits.Any(mandatory=True)


class ResampleFmriprep(Step):
    """Load a run in an MNI152 space, drop its first volumes, and resample it to ``--resolution``."""

    input_spec = ResampleFmriprepInput
    output_spec = ResampleOutput
    memory = Memory(0.3, 8)

    def _run_interface(self, runtime: Any) -> Any:
        run: FmriprepRun = self.inputs.run
        config: Config = self.inputs.config
        options = config.preprocessing
        data, affine, header, odd = load_bold(run.bold)
        tr, messages = repetition_time(
            run.bold, header, run.metadata, override=options.repetition_time, header_suffices=True
        )
        notes = [*run.messages, *odd, *clean_bold(data, run.bold.name), *messages]
        discarded, more = self._volumes_to_drop(run, config, data)
        data = data[..., discarded:]
        require_length(data.shape[3], tr, config, run.bold.name)
        native, more_notes = brain_mask(run, Volume(mean_over_time(data), affine))
        series, mask, grid = to_resolution(data, native, options.resolution)
        mean = resample_to_grid(mean_over_time(data), affine, target_affine=grid, target_shape=mask.shape)
        facts: dict[str, Any] = {
            "mode": "fmriprep",
            "sources": list(run.sources),
            "repetition_time": tr,
            "volumes": data.shape[3],
            "discarded": discarded,
            "space": run.space,
            "resolution": float(options.resolution) if options.resolution != "native" else grid_words(grid),
            "interpolations": "none here: fMRIPrep's grid"
            if options.resolution == "native"
            else "one after fMRIPrep's",
            "messages": [*notes, *more, *more_notes],
            "excluded": None,
        }
        template = brain_mask_in_target(packaged_volume("mask"), grid, mask.shape)
        facts = with_coverage(facts, float(mask[template].mean()))
        for message in facts["messages"]:
            logger.info("%s", message)
        self._results |= {
            "series": self._save_array(runtime, "series.npy", series),
            "mask": self._save_image(runtime, "mask.nii", mask.astype(np.uint8), grid),
            "mean": self._save_image(runtime, "mean.nii", mean, grid),
            "facts": facts,
        }
        return runtime

    def _volumes_to_drop(self, run: FmriprepRun, config: Config, data: NDArray[np.float32]) -> tuple[int, list[str]]:
        """Drop as many as asked for, and never fewer than fMRIPrep found outside the steady state."""
        found = count_non_steady_state(read_confounds(run.confounds))
        if config.preprocessing.dummy_scans == "auto":
            return found, []
        asked = volumes_to_drop(data, config.preprocessing, run.bold.name)
        if found > asked:
            return found, [f"{run.bold.name}: fMRIPrep marks {found} volumes as non-steady; they are dropped."]
        return asked, []


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
