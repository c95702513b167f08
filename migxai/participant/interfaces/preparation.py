"""Read an acquired run, drop its first volumes, and correct the slices' times."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.bids.bold import clean_bold, load_bold, repetition_time
from migxai.bids.inputs import RawRun
from migxai.config import Config, Preprocessing
from migxai.errors import DenoisingError, ImageError, TimingError
from migxai.participant.interfaces.base import BaseInterfaceInputSpec, Step, TraitedSpec, traits
from migxai.participant.resources import Memory
from migxai.signal.filtering import band_dimensions
from migxai.signal.nuisance import DOF_MINIMUM
from migxai.signal.slicetiming import check_slice_timing, correct_slice_timing, slice_axis
from migxai.signal.steadystate import count_non_steady_volumes

logger = logging.getLogger("migxai")


class PrepareBoldInput(BaseInterfaceInputSpec):  # noqa: D101
    run = traits.Any(mandatory=True)
    config = traits.Any(mandatory=True)


class PrepareBoldOutput(TraitedSpec):  # noqa: D101
    bold = traits.File(exists=True)
    facts = traits.Dict()


class PrepareBold(Step):
    """Check a run, drop the volumes before the steady state, and bring all slices to one moment."""

    input_spec = PrepareBoldInput
    output_spec = PrepareBoldOutput
    memory = Memory(0.3, 5)

    def _run_interface(self, runtime: Any) -> Any:
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
        if not corrected:
            messages.append(note)
        facts = {
            "mode": "raw",
            "sources": list(run.sources),
            "repetition_time": tr,
            "volumes": kept.shape[3],
            "discarded": discarded,
            "slice_timing_corrected": corrected,
            "slice_timing_note": note,
            "messages": messages,
            "excluded": None,
        }
        for message in messages:
            logger.info("%s", message)
        self._results["bold"] = self._save_image(runtime, "bold.nii", kept, affine)
        self._results["facts"] = facts
        return runtime


def volumes_to_drop(data: NDArray[np.float32], options: Preprocessing, name: str) -> int:
    """Settle how many volumes at the start are dropped.

    Raises
    ------
    ImageError
        If the run has no more volumes than that.
    """
    wanted = options.dummy_scans
    if wanted == "auto":
        signal = np.array([data[..., volume].mean(dtype=np.float64) for volume in range(data.shape[3])])
        wanted = count_non_steady_volumes(signal)
    if wanted >= data.shape[3]:
        raise ImageError(f"{name} has {data.shape[3]} volumes, and {wanted} are to be dropped; see --dummy-scans.")
    return wanted


def require_length(volumes: int, tr: float, config: Config, name: str) -> None:
    """Refuse a run that is too short for its band before hours are spent on it.

    Raises
    ------
    DenoisingError
        If the band has fewer dimensions than the degrees of freedom that must remain.
    """
    options = config.denoising
    dimensions = band_dimensions(volumes, tr, options.low, options.high)
    if dimensions < DOF_MINIMUM:
        raise DenoisingError(
            f"{name} is too short: {volumes} volumes of {tr:g} s hold {dimensions} dimensions between {options.low:g} "
            f"and {options.high:g} Hz, and {DOF_MINIMUM} must remain after the nuisance regression."
        )


def time_slices(
    data: NDArray[np.float32], metadata: dict[str, Any], tr: float, options: Preprocessing, name: str
) -> tuple[str, bool]:
    """Correct slice times in place, where the sidecar allows it.

    Returns
    -------
    tuple
        What was done or why nothing was, and whether it was done.

    Raises
    ------
    TimingError
        If it can't be done and ``--slice-timing force`` asks for it.
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
