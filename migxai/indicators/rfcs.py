"""Regional functional connectivity strength (RFCS)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migxai.config import Config, Indicators
from migxai.indicators.registry import Denoised, Indicator
from migxai.options import Option, choices_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DIVISOR = Option(
    ("--rfcs-divisor",), "indicators", "indicators", "rfcs_divisor", "What RFCS divides the sum over regions by.",
    choices=choices_of(Indicators, "rfcs_divisor"),
)  # fmt: skip


def _compute(series: Denoised, config: Config) -> NDArray[np.floating[Any]]:
    from migxai.signal.maps import paint, rfcs

    strength = rfcs(series.region_series, divisor=config.indicators.rfcs_divisor)
    return paint(strength, series.atlas, series.region_indices)


def _definition(config: Config) -> dict[str, Any]:
    divisor = "(N - 1)" if config.indicators.rfcs_divisor == "n-1" else "N"
    return {
        "Definition": f"S(i) = sum over j != i of |R_ij| / {divisor}",
        "Correlation": "Pearson",
        "DiagonalCounted": False,
    }


def _sentence(config: Config) -> str:
    own = config.indicators.atlas is not None
    atlas = "the given atlas" if own else "the AAL atlas (116 regions [@tzouriomazoyer2002])"
    divisor = "N - 1" if config.indicators.rfcs_divisor == "n-1" else "N"
    return (
        "Regional functional connectivity strength (RFCS) is the sum of a region's absolute Pearson correlations with "
        f"all others in {atlas}, divided by {divisor}, N being the number of regions."
    )


ENTRY = Indicator(
    name="rfcs",
    title="RFCS",
    order=4,
    options=(_DIVISOR,),
    series="regions",
    compute=_compute,
    definition=_definition,
    sentence=_sentence,
    normalised=False,
    regional=True,
    parameters=lambda config: {},  # noqa: ARG005 - the divisor stands in the methods text
    learnt_by_default=True,
)
