"""Amplitude of low-frequency fluctuations (ALFF)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migxai.config import Config, Indicators
from migxai.indicators.registry import Denoised, Indicator
from migxai.options import Option, choices_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Whose definition it is, as the methods text cites it.
_SOURCES = {
    "rest": "REST [@song2011]",
    "dpabi": "DPABI [@yan2016]",
    "afni": "AFNI [@cox1996]",
    "xcpd": "XCP-D [@mehta2024]",
}

#: fALFF has it too.
DEFINITION = Option(
    ("--alff-definition",), "indicators", "indicators", "alff_definition", "Whose definition of ALFF and fALFF.",
    choices=choices_of(Indicators, "alff_definition"),
)  # fmt: skip


def _compute(series: Denoised, config: Config) -> NDArray[np.floating[Any]]:
    from migxai.signal.amplitude import alff_voxels

    band, definition = config.denoising.band, config.indicators.alff_definition
    return alff_voxels(series.unfiltered, series.repetition_time, *band, definition)


def definition(config: Config) -> dict[str, Any]:
    """Return the sidecar fields of ALFF and of fALFF."""
    return {"Definition": config.indicators.alff_definition}


def _sentence(config: Config) -> str:
    source = " of the regressed, smoothed series before filtering" if config.denoising.order != "paper" else ""
    return (
        "The amplitude of low-frequency fluctuations (ALFF [@alff]) is the mean amplitude within "
        f"{config.denoising.band}{source}, as {_SOURCES[config.indicators.alff_definition]} defines it, divided by its "
        "mean over the brain."
    )


def parameters(config: Config) -> dict[str, str]:
    """Return the line for the report, that of ALFF and of fALFF."""
    return {"ALFF definition": config.indicators.alff_definition}


ENTRY = Indicator(
    name="alff",
    title="ALFF",
    order=1,
    citation="Zang YF, et al. Altered baseline brain activity in children with ADHD revealed by resting-state "
    "functional MRI. Brain and Development 2007;29:83-91. doi:10.1016/j.braindev.2006.07.002",
    options=(DEFINITION,),
    series="unfiltered",
    compute=_compute,
    definition=definition,
    sentence=_sentence,
    parameters=parameters,
    learnt_by_default=True,
)
