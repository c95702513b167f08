"""The indicators migxai makes: which series each is taken from, what it computes, and what its sidecar says.

A new indicator is a function in a file of its own and one entry in `INDICATORS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.config import Config, Indicators
from migxai.errors import UsageError
from migxai.indicators.alff import alff_voxels, falff_voxels
from migxai.indicators.reho import reho_voxels
from migxai.indicators.rfcs import rfcs
from migxai.signal.regions import paint


@dataclass(frozen=True, eq=False)
class Denoised:
    """What indicators are computed from.

    Attributes
    ----------
    unfiltered
        Regressed and smoothed, not band-passed, (V, T); in the paper's order the same as `filtered`.
    filtered
        Regressed and band-passed, (V, T); smoothed in the paper's order only.
    mask
        Where the V voxels lie, (X, Y, Z).
    repetition_time
        Seconds.
    region_series
        Mean of `filtered` in each region, (T, R); NaN where the run does not cover a region.
    atlas
        The atlas on the grid of `mask`, labels (X, Y, Z).
    region_indices
        The atlas label of each region, (R,).
    """

    unfiltered: NDArray[np.floating[Any]]
    filtered: NDArray[np.floating[Any]]
    mask: NDArray[np.bool_]
    repetition_time: float
    region_series: NDArray[np.float64]
    atlas: NDArray[np.integer[Any]]
    region_indices: NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Indicator:
    """One entry of the registry.

    Attributes
    ----------
    name
        In words, for reports.
    compute
        Takes the series and the configuration and returns the un-normalised map: (V,), or (X, Y, Z) if `regional`.
    definition
        Sidecar fields that say how the numbers were made.
    normalised
        Whether the main map is divided by its mean in the mask.
    smoothed_after
        Whether the map is smoothed after it is computed, since its series is not smoothed.
    regional
        Whether it has one value a region, painted on the whole region; NaN where the run does not cover it.
    spectral
        Whether it is taken from the series before the band-pass, which must have no gaps.
    """

    name: str
    compute: Callable[[Denoised, Config], NDArray[np.floating[Any]]]
    definition: Callable[[Indicators], dict[str, Any]]
    normalised: bool = True
    smoothed_after: bool = False
    regional: bool = False
    spectral: bool = False


def _alff(series: Denoised, config: Config) -> NDArray[np.floating[Any]]:
    band = config.denoising
    definition = config.indicators.alff_definition
    return alff_voxels(series.unfiltered, series.repetition_time, band.low, band.high, definition)


def _falff(series: Denoised, config: Config) -> NDArray[np.floating[Any]]:
    band = config.denoising
    definition = config.indicators.alff_definition
    return falff_voxels(series.unfiltered, series.repetition_time, band.low, band.high, definition)


def _reho(series: Denoised, config: Config) -> NDArray[np.floating[Any]]:
    options = config.indicators
    return reho_voxels(
        series.filtered,
        series.mask,
        options.reho_neighbours,
        tie_correction=options.reho_tie_correction,
        border=options.reho_border,
        constant=options.reho_constant,
    )


def _rfcs(series: Denoised, config: Config) -> NDArray[np.floating[Any]]:
    strength = rfcs(series.region_series, divisor=config.indicators.rfcs_divisor)
    return paint(strength, series.atlas, series.region_indices)


def _amplitude_definition(options: Indicators) -> dict[str, Any]:
    return {"Definition": options.alff_definition}


def _reho_definition(options: Indicators) -> dict[str, Any]:
    return {
        "Definition": "Kendall's W with mid-ranks" + (", corrected for ties" if options.reho_tie_correction else ""),
        "Neighbours": options.reho_neighbours,
        "ConstantVoxels": options.reho_constant,
        "GridBorder": options.reho_border,
    }


def _rfcs_definition(options: Indicators) -> dict[str, Any]:
    divisor = "(N - 1)" if options.rfcs_divisor == "n-1" else "N"
    return {
        "Definition": f"S(i) = sum over j != i of |R_ij| / {divisor}",
        "Correlation": "Pearson",
        "DiagonalCounted": False,
    }


#: By the value of ``stat-``.
INDICATORS: dict[str, Indicator] = {
    "alff": Indicator("ALFF", _alff, _amplitude_definition, spectral=True),
    "falff": Indicator("fALFF", _falff, _amplitude_definition, spectral=True),
    "reho": Indicator("ReHo", _reho, _reho_definition, smoothed_after=True),
    "rfcs": Indicator("RFCS", _rfcs, _rfcs_definition, normalised=False, regional=True),
}


def find_indicator(stat: str) -> Indicator:
    """Look an indicator up by its ``stat-`` value.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    if stat not in INDICATORS:
        raise UsageError(f"There is no indicator {stat!r}; known are {', '.join(INDICATORS)}.")
    return INDICATORS[stat]
