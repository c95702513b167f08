"""What an indicator is: which series it is taken from, how it is computed, and what is said of it everywhere else.

A new indicator is one module with an `Indicator`: here, or in another package that names it as an entry point of the
group ``migxai.indicators`` (``tests/extending/degree_centrality.py`` is a worked example).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from migxai.config import Config
from migxai.options import words
from migxai.registry import Entry, Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Denoised:
    """What indicators are computed from: the series of one run.

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


@dataclass(frozen=True, kw_only=True)
class Indicator(Entry):
    """One indicator; its `name` is the value of ``stat-`` in file names.

    Attributes
    ----------
    compute
        Takes the series and the configuration and returns the un-normalised map: (V,), or (X, Y, Z) if `regional`.
    definition
        Sidecar fields that say how the numbers were made. The fields are the same for every configuration; maps that
        differ in the value of one are not pooled.
    sentence
        What the methods text says. ``[@name]``, with the entry's own name, cites `citation`; other keys are those of
        ``reports/references.yml``.
    series
        What it reads: ``unfiltered`` voxel series, which must have no gaps, ``filtered`` ones, or those of ``regions``.
    normalised
        Whether the main map is divided by its mean in the mask.
    smoothed_after
        Whether the map is smoothed after it is computed, since its series is not smoothed.
    regional
        Whether it has one value a region, painted on the whole region; NaN where the run does not cover it.
    unit
        Unit of the un-normalised map, in words; empty where it has none that helps.
    learnt_by_default
        Whether the group level learns from it where ``--indicators`` names none.
    parameters
        Lines for the report's table of parameters (default: the values of its options).
    """

    compute: Callable[[Denoised, Config], NDArray[np.floating[Any]]]
    definition: Callable[[Config], dict[str, Any]]
    sentence: Callable[[Config], str]
    series: Literal["unfiltered", "filtered", "regions"] = "filtered"
    normalised: bool = True
    smoothed_after: bool = False
    regional: bool = False
    unit: str = ""
    learnt_by_default: bool = False
    parameters: Callable[[Config], dict[str, str]] | None = None

    @property
    def spectral(self) -> bool:
        """Whether it is taken from the series before the band-pass, which must have no gaps."""
        return self.series == "unfiltered"

    def unit_of(self, form: str) -> str:
        """Return the unit of a map in words: of the main form (``""``), ``raw`` or ``zscore``; empty for none."""
        if form == "zscore":
            return ""
        return "of the brain's mean" if self.normalised and not form else self.unit

    def definition_fields(self) -> tuple[str, ...]:
        """Name the sidecar fields of its own that decide whether maps may be pooled."""
        return tuple(self.definition(Config()))

    def table(self, config: Config) -> dict[str, str]:
        """Return its lines for the report's table of parameters."""
        if self.parameters is not None:
            return self.parameters(config)
        return {f"{self.title}, {option.flags[0]}": words(option.value(config)) for option in self.options}


#: All indicators by the value of ``stat-``.
INDICATORS: Registry[Indicator] = Registry("indicator", Indicator, package="migxai.indicators", group="indicators")
