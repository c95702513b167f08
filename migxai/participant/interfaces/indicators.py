"""Compute all indicators of a run, whole-brain and by region, and average those of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.config import Config
from migxai.data import Atlas, check_space, load_atlas
from migxai.errors import AtlasError, ImageError
from migxai.indicators.registry import INDICATORS, Denoised, Indicator
from migxai.participant.facts import IndicatorFacts, RunFacts, mean_facts
from migxai.participant.interfaces.base import (
    Step,
    inputs,
    load_array,
    load_arrays,
    load_image,
    on_grid,
    outputs,
    save_arrays,
)
from migxai.participant.interfaces.derivatives import RunFiles
from migxai.participant.resources import Memory
from migxai.registration.resample import labels_on_grid
from migxai.registration.space import voxel_sizes
from migxai.signal.maps import (
    correlation_matrix,
    mean_normalised,
    region_coverage,
    region_means,
    region_values,
    smooth,
    z_scored,
)

Maps = dict[str, NDArray[Any]]


class ComputeIndicators(Step):
    """Compute the maps in every form asked for, and the tables of regions.

    ``maps`` (.npz) holds ``<stat>`` and ``<stat>-<form>``, each (V,), or (X, Y, Z) for a regional indicator.
    ``regions`` (.npz) holds ``index``, ``names``, ``coverage``, ``series`` (T, R), ``correlation`` (R, R) and each
    indicator's mean in the regions (R,).
    """

    input_spec = inputs(
        config="value", unfiltered="file", filtered="file", mask="file", acquisition="value", grid="value"
    )
    output_spec = outputs(maps="file", regions="file", indicators="value")
    memory = Memory(0.3, 4, in_template=True)

    def _make(self, folder: Path) -> dict[str, Any]:
        config: Config = self.inputs.config
        image, affine = load_image(self.inputs.mask)
        mask, sizes = image.astype(bool), tuple(voxel_sizes(affine))
        atlas = atlas_of(config, self.inputs.grid.space)
        labels = labels_on_grid(atlas.data, atlas.affine, mask.shape, affine)
        filtered = load_array(self.inputs.filtered)
        regions = regional_series(atlas, labels, filtered, mask)
        low_coverage = regions["coverage"] < config.indicators.min_coverage
        regions["series"][:, low_coverage] = np.nan
        regions["correlation"] = correlation_matrix(regions["series"])
        denoised = Denoised(
            load_array(self.inputs.unfiltered),
            filtered,
            mask,
            self.inputs.acquisition.repetition_time,
            regions["series"],
            labels,
            regions["index"],
        )
        maps: Maps = {}
        means: dict[str, float] = {}
        for stat in config.indicators.indicators:
            indicator = INDICATORS[stat]
            values = compute_map(indicator, denoised, config, sizes)
            forms, means[stat] = forms_of(values, mask, config.indicators.forms, indicator)
            maps |= {f"{stat}-{form}" if form else stat: item for form, item in forms.items()}
            regions[stat] = region_values(on_grid(forms[""], mask)[mask], labels[mask], regions["index"])
            regions[stat][low_coverage] = np.nan
        return {
            "maps": save_arrays(folder / "maps.npz", maps),
            "regions": save_arrays(folder / "regions.npz", regions),
            "indicators": IndicatorFacts(means, atlas.name, atlas.reference, len(atlas)),
        }


def atlas_of(config: Config, space: str) -> Atlas:
    """Load the atlas that the configuration names, and check that it fits the space."""
    options = config.indicators
    atlas = load_atlas(options.atlas or "AAL", options.atlas_labels)
    check_space(atlas, space)
    return atlas


def regional_series(atlas: Atlas, labels: NDArray[Any], series: NDArray[Any], mask: NDArray[np.bool_]) -> Maps:
    """Mean series and coverage of every region; AtlasError if no region has a voxel in the mask."""
    index = np.asarray(atlas.indices, dtype=np.int64)
    coverage = np.nan_to_num(region_coverage(labels, mask, index))
    if not coverage.any():
        raise AtlasError(f"The atlas {atlas.name} does not overlap the brain mask of the run; check its space.")
    return {
        "index": index,
        "names": np.asarray(atlas.names),
        "coverage": coverage,
        "series": region_means(series, labels[mask], index),
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


class AverageRuns(Step):
    """Write the mean of maps and regional tables over runs that differ in ``run-`` alone, under a name without it.

    Each run is weighted by its length. Excluded runs are left out; if all are excluded, all are averaged and the mean
    is marked excluded.
    """

    input_spec = inputs(
        config="value", output_dir="value", entities="value", maps="files", regions="files", mask="files", facts="value"
    )
    output_spec = outputs(written="value")
    memory = Memory(0.3)
    _always_run = True

    def _make(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - all goes to the output dataset
        runs: list[RunFacts] = self.inputs.facts
        chosen = usable_runs(runs)
        weights = np.array([runs[place].acquisition.volumes for place in chosen], dtype=np.float64)
        facts = mean_facts([runs[place] for place in chosen])
        images = [load_image(self.inputs.mask[place]) for place in chosen]
        affine = images[0][1]
        if any(image.shape != images[0][0].shape or not np.allclose(other, affine) for image, other in images):
            raise ImageError(
                "The runs of this subject have different grids, so they can't be averaged; use --resolution MM, which "
                "brings them to one, instead of --resolution native."
            )
        masks = [image.astype(bool) for image, _ in images]
        maps = [load_arrays(self.inputs.maps[place]) for place in chosen]
        regions = [load_arrays(self.inputs.regions[place]) for place in chosen]
        mask = np.logical_or.reduce(masks)
        files = RunFiles(Path(self.inputs.output_dir), self.inputs.entities, facts, self.inputs.config)
        files.write_mask(mask, affine, "Voxels that any averaged run covers.")
        means = {
            key: weighted_mean([on_grid(item[key], inside) for item, inside in zip(maps, masks, strict=True)], weights)
            for key in maps[0]
        }
        files.write_maps(means, mask, affine)
        values = {key: regions[0][key] for key in ("index", "names")}
        for key in regions[0]:
            if key not in ("index", "names", "series", "correlation"):
                values[key] = weighted_mean([item[key] for item in regions], weights, empty=np.nan)
        files.write_regional_values(values)
        return {"written": files.written}


def usable_runs(runs: Sequence[RunFacts]) -> list[int]:
    """Places of the runs that enter the mean: those not excluded, or all if every one is."""
    return [place for place, run in enumerate(runs) if not run.motion.excluded] or list(range(len(runs)))


def weighted_mean(values: list[NDArray[Any]], weights: NDArray[np.float64], empty: float = 0.0) -> NDArray[np.float32]:
    """Mean (float32) of arrays of one shape where each has data, not NaN or `empty`; `empty` where none has any."""
    stack = np.stack(values).astype(np.float64)
    has_data = np.isfinite(stack) & (stack != empty)
    share = has_data * weights.reshape(-1, *[1] * (stack.ndim - 1))
    total = share.sum(axis=0)
    summed = (np.where(has_data, stack, 0.0) * share).sum(axis=0)
    mean = np.divide(summed, total, out=np.full(total.shape, empty, dtype=np.float64), where=total > 0)
    # A region that no run covers stays NaN in its painted map.
    mean[np.isnan(stack).all(axis=0)] = np.nan
    single: NDArray[np.float32] = mean.astype(np.float32)
    return single
