"""Average the maps of runs that differ in ``run-`` alone, each weighted by its length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.errors import ImageError
from migxai.participant.interfaces.base import BaseInterfaceInputSpec, Step, TraitedSpec, load_image, traits
from migxai.participant.interfaces.derivatives import (
    DerivativeSet,
    processing_fields,
    write_maps,
    write_regional_values,
)
from migxai.participant.interfaces.indicators import on_grid
from migxai.participant.resources import Memory

Facts = dict[str, Any]


class AverageRunsInput(BaseInterfaceInputSpec):  # noqa: D101
    config = traits.Any(mandatory=True)
    output_dir = traits.Str(mandatory=True)
    entities = traits.Dict(mandatory=True)
    maps = traits.List(traits.File(exists=True), mandatory=True)
    regions = traits.List(traits.File(exists=True), mandatory=True)
    mask = traits.List(traits.File(exists=True), mandatory=True)
    facts = traits.List(traits.Dict(), mandatory=True)


class AverageRunsOutput(TraitedSpec):  # noqa: D101
    written = traits.List(traits.Str())


class AverageRuns(Step):
    """Write the mean over runs of maps and regional tables, under a name without ``run-``.

    Excluded runs are left out; if all are excluded, all are averaged and the mean is marked excluded.
    """

    input_spec = AverageRunsInput
    output_spec = AverageRunsOutput
    memory = Memory(0.3)
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        chosen = usable_runs(inputs.facts)
        weights = np.array([inputs.facts[place]["volumes"] for place in chosen], dtype=np.float64)
        facts = mean_facts([inputs.facts[place] for place in chosen])
        files = DerivativeSet(Path(inputs.output_dir), dict(inputs.entities), facts)
        images = [load_image(inputs.mask[place]) for place in chosen]
        affine = images[0][1]
        if any(image.shape != images[0][0].shape or not np.allclose(other, affine) for image, other in images):
            raise ImageError(
                "The runs of this subject have different grids, so they can't be averaged; use --resolution MM, which "
                "brings them to one, instead of --resolution native."
            )
        masks = [image.astype(bool) for image, _ in images]
        maps = [dict(np.load(inputs.maps[place], allow_pickle=False)) for place in chosen]
        regions = [dict(np.load(inputs.regions[place], allow_pickle=False)) for place in chosen]
        mask = np.logical_or.reduce(masks)
        content = {"Description": "Voxels that any averaged run covers.", "Type": "Brain", **processing_fields(facts)}
        files.image(mask, affine, "mask", content, dtype="uint8", desc="brain")
        means = {
            key: weighted_mean([on_grid(item[key], inside) for item, inside in zip(maps, masks, strict=True)], weights)
            for key in maps[0]
        }
        write_maps(files, means, mask, affine, inputs.config)
        values = {key: regions[0][key] for key in ("index", "names")}
        for key in regions[0]:
            if key not in ("index", "names", "series", "correlation"):
                values[key] = weighted_mean([item[key] for item in regions], weights, empty=np.nan)
        write_regional_values(files, values, inputs.config)
        self._results["written"] = files.written
        return runtime


def usable_runs(facts: list[Facts]) -> list[int]:
    """Places of the runs that enter the mean: those not excluded, or all if every one is."""
    return [place for place, item in enumerate(facts) if not item["excluded"]] or list(range(len(facts)))


def weighted_mean(values: list[NDArray[Any]], weights: NDArray[np.float64], empty: float = 0.0) -> NDArray[np.float32]:
    """Mean of arrays of one shape where each has data.

    Parameters
    ----------
    values
        Arrays; NaN, and `empty`, mark where one has none.
    weights
        One weight an array.
    empty
        What the mean holds where no array has data.

    Returns
    -------
    array
        float32.
    """
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


def mean_facts(runs: list[Facts]) -> Facts:
    """Facts of the mean: those of the first run, with counts summed and what differs said."""
    facts = dict(runs[0])
    for key in ("volumes", "discarded", "censored"):
        facts[key] = sum(item[key] for item in runs)
    facts["residual_dof"] = sum(item["residual_dof"] for item in runs)
    facts["means"] = {stat: float(np.mean([item["means"][stat] for item in runs])) for stat in runs[0]["means"]}
    facts["sources"] = list(dict.fromkeys(source for item in runs for source in item["sources"]))
    facts["averaged_runs"] = len(runs)
    return facts
