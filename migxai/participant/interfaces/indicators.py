"""Compute all indicators of a run, whole-brain and by region, from its denoised series."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.config import Config
from migxai.data import Atlas, check_space, load_atlas
from migxai.errors import AtlasError
from migxai.indicators.normalisation import mean_normalised, z_scored
from migxai.indicators.registry import Denoised, Indicator, find_indicator
from migxai.indicators.rfcs import correlation_matrix
from migxai.participant.interfaces.base import BaseInterfaceInputSpec, Step, TraitedSpec, load_array, load_image, traits
from migxai.participant.resources import Memory
from migxai.registration.resample import labels_on_grid
from migxai.registration.volume import voxel_sizes
from migxai.signal.regions import region_coverage, region_means, region_values
from migxai.signal.smoothing import smooth

Maps = dict[str, NDArray[Any]]


class ComputeIndicatorsInput(BaseInterfaceInputSpec):  # noqa: D101
    config = traits.Any(mandatory=True)
    unfiltered = traits.File(exists=True, mandatory=True)
    filtered = traits.File(exists=True, mandatory=True)
    mask = traits.File(exists=True, mandatory=True)
    facts = traits.Dict(mandatory=True)


class ComputeIndicatorsOutput(TraitedSpec):  # noqa: D101
    maps = traits.File(exists=True)
    regions = traits.File(exists=True)
    facts = traits.Dict()


class ComputeIndicators(Step):
    """Compute the maps in every form asked for, and the tables of regions.

    ``maps`` (.npz) holds ``<stat>`` and ``<stat>-<form>``, each (V,), or (X, Y, Z) for a regional indicator.
    ``regions`` (.npz) holds ``index``, ``names``, ``coverage``, ``series`` (T, R), ``correlation`` (R, R) and each
    indicator's mean in the regions (R,).
    """

    input_spec = ComputeIndicatorsInput
    output_spec = ComputeIndicatorsOutput
    memory = Memory(0.3, 4, in_template=True)

    def _run_interface(self, runtime: Any) -> Any:
        config: Config = self.inputs.config
        facts = dict(self.inputs.facts)
        mask, affine = load_image(self.inputs.mask)
        inside = mask.astype(bool)
        atlas = atlas_of(config, facts["space"])
        grid = labels_on_grid(atlas.data, atlas.affine, inside.shape, affine)
        filtered = load_array(self.inputs.filtered)
        regions = regional_series(atlas, grid, filtered, inside)
        low_coverage = regions["coverage"] < config.indicators.min_coverage
        regions["series"][:, low_coverage] = np.nan
        regions["correlation"] = correlation_matrix(regions["series"])
        denoised = Denoised(
            load_array(self.inputs.unfiltered),
            filtered,
            inside,
            facts["repetition_time"],
            regions["series"],
            grid,
            regions["index"],
        )
        maps: Maps = {}
        facts["means"] = {}
        sizes = tuple(voxel_sizes(affine))
        for stat in config.indicators.indicators:
            indicator = find_indicator(stat)
            values = compute_map(indicator, denoised, config, sizes)
            forms, facts["means"][stat] = forms_of(values, inside, config.indicators.forms, indicator)
            maps |= {f"{stat}-{form}" if form else stat: item for form, item in forms.items()}
            main = on_grid(forms[""], inside)
            regions[stat] = region_values(main[inside], grid[inside], regions["index"])
            regions[stat][low_coverage] = np.nan
        self._results["maps"] = self._save_arrays(runtime, "maps.npz", maps)
        self._results["regions"] = self._save_arrays(runtime, "regions.npz", regions)
        facts["atlas"] = {
            "Name": atlas.name,
            "Reference": atlas.reference,
            "Regions": len(atlas),
            "MinimumCoverage": config.indicators.min_coverage,
            "Note": f"Labels resampled to the grid of the data in {facts['space']}; no registration between spaces.",
        }
        self._results["facts"] = facts
        return runtime


def atlas_of(config: Config, space: str) -> Atlas:
    """Load the atlas that the configuration names, and check that it fits the space."""
    options = config.indicators
    atlas = load_atlas(options.atlas or "AAL", options.atlas_labels)
    check_space(atlas, space)
    return atlas


def regional_series(atlas: Atlas, grid: NDArray[Any], series: NDArray[Any], mask: NDArray[np.bool_]) -> Maps:
    """Mean series and coverage of every region.

    Raises
    ------
    AtlasError
        If no region has a voxel in the mask.
    """
    index = np.asarray(atlas.indices, dtype=np.int64)
    coverage = np.nan_to_num(region_coverage(grid, mask, index))
    if not coverage.any():
        raise AtlasError(f"The atlas {atlas.name} does not overlap the brain mask of the run; check its space.")
    return {
        "index": index,
        "names": np.asarray(atlas.names),
        "coverage": coverage,
        "series": region_means(series, grid[mask], index),
    }


def compute_map(
    indicator: Indicator, series: Denoised, config: Config, sizes: tuple[float, ...]
) -> NDArray[np.floating[Any]]:
    """Compute one un-normalised map, smoothed if it is one to be smoothed afterwards."""
    values = indicator.compute(series, config)
    if indicator.smoothed_after and config.denoising.order != "paper" and config.denoising.fwhm > 0:
        values = smooth(values[:, None], series.mask, sizes, config.denoising.fwhm)[:, 0]
    return values


def forms_of(
    values: NDArray[np.floating[Any]], mask: NDArray[np.bool_], forms: tuple[str, ...], indicator: Indicator
) -> tuple[Maps, float]:
    """Return the main form under ``""`` and the others asked for, float32, and the mean of the un-normalised map."""
    grid = on_grid(values, mask)
    defined = np.isfinite(grid) & (grid != 0) if indicator.regional else mask
    mean = float(grid[defined].mean(dtype=np.float64)) if defined.any() else float("nan")
    made = {"": mean_normalised(grid, mask) if indicator.normalised else grid}
    if "raw" in forms:
        made["raw"] = grid
    if "zscore" in forms:
        made["zscore"] = np.where(defined, z_scored(np.where(defined, grid, 0), defined), grid * 0)
    keep = slice(None) if indicator.regional else mask
    return {form: item[keep].astype(np.float32) for form, item in made.items()}, mean


def on_grid(values: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """Put voxel values (V,) on their grid; a map that is on it already stays as it is."""
    if values.ndim == mask.ndim:
        return values
    grid = np.zeros(mask.shape, dtype=values.dtype)
    grid[mask] = values
    return grid
