"""Regional homogeneity (ReHo)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migxai.config import Config, Indicators
from migxai.indicators.registry import Denoised, Indicator
from migxai.options import Option, choices_of, whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_OPTIONS = (
    Option(
        ("--reho-neighbours", "--reho-neighbors"), "indicators", "indicators", "reho_neighbours",
        "Voxels in a ReHo neighbourhood.", parse=whole, choices=choices_of(Indicators, "reho_neighbours"),
    ),
    Option(
        ("--reho-constant",), "indicators", "indicators", "reho_constant",
        "Constant voxels within a ReHo neighbourhood: keep them as ties, or exclude them.",
        choices=choices_of(Indicators, "reho_constant"),
    ),
    Option(
        ("--reho-tie-correction",), "indicators", "indicators", "reho_tie_correction",
        "Correct Kendall's W for ties.", kind="switch",
    ),
    Option(
        ("--reho-border",), "indicators", "indicators", "reho_border",
        "Neighbourhoods which the mask cuts: zero, or computed from the voxels within (partial).",
        choices=choices_of(Indicators, "reho_border"),
    ),
)  # fmt: skip


def _compute(series: Denoised, config: Config) -> NDArray[np.floating[Any]]:
    from migxai.signal.regional_homogeneity import reho_voxels

    options = config.indicators
    return reho_voxels(
        series.filtered,
        series.mask,
        options.reho_neighbours,
        tie_correction=options.reho_tie_correction,
        border=options.reho_border,
        constant=options.reho_constant,
    )


def _definition(config: Config) -> dict[str, Any]:
    options = config.indicators
    return {
        "Definition": "Kendall's W with mid-ranks" + (", corrected for ties" if options.reho_tie_correction else ""),
        "Neighbours": options.reho_neighbours,
        "ConstantVoxels": options.reho_constant,
        "GridBorder": options.reho_border,
    }


def _sentence(config: Config) -> str:
    smoothed = config.denoising.order != "paper" and config.denoising.fwhm
    after = ", computed before smoothing and smoothed afterwards" if smoothed else ""
    return (
        "Regional homogeneity (ReHo [@reho]) is Kendall's coefficient of concordance of a voxel and its neighbours "
        f"({config.indicators.reho_neighbours} in all){after}, divided by its mean over the brain."
    )


ENTRY = Indicator(
    name="reho",
    title="ReHo",
    order=3,
    citation="Zang Y, Jiang T, Lu Y, He Y, Tian L. Regional homogeneity approach to fMRI data analysis. NeuroImage "
    "2004;22:394-400. doi:10.1016/j.neuroimage.2003.12.030",
    options=_OPTIONS,
    smoothed_after=True,
    compute=_compute,
    definition=_definition,
    sentence=_sentence,
    parameters=lambda config: {"ReHo neighbourhood": f"{config.indicators.reho_neighbours} voxels"},
    learnt_by_default=True,
)
