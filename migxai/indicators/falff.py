"""Fractional amplitude of low-frequency fluctuations (fALFF)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migxai.config import Config
from migxai.indicators import alff
from migxai.indicators.registry import Denoised, Indicator

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def _compute(series: Denoised, config: Config) -> NDArray[np.floating[Any]]:
    from migxai.signal.amplitude import falff_voxels

    band, definition = config.denoising.band, config.indicators.alff_definition
    return falff_voxels(series.unfiltered, series.repetition_time, *band, definition)


def _sentence(config: Config) -> str:  # noqa: ARG001 - one signature for all indicators
    return (
        "Fractional ALFF [@falff] is the ratio of the amplitude in that band to that of all frequencies, likewise "
        "divided by its mean."
    )


ENTRY = Indicator(
    name="falff",
    title="fALFF",
    order=2,
    citation="Zou QH, et al. An improved approach to detection of amplitude of low-frequency fluctuation (ALFF) for "
    "resting-state fMRI: fractional ALFF. Journal of Neuroscience Methods 2008;172:137-141. "
    "doi:10.1016/j.jneumeth.2008.04.012",
    options=(alff.DEFINITION,),
    series="unfiltered",
    compute=_compute,
    definition=alff.definition,
    sentence=_sentence,
    parameters=alff.parameters,
)
