"""Bring a series into template space with one interpolation, inside the brain only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.data import SPACE
from migxai.errors import RegistrationError
from migxai.participant.interfaces.base import (
    BaseInterfaceInputSpec,
    Step,
    TraitedSpec,
    load_array,
    load_chain,
    load_image,
    load_volume,
    packaged_volume,
    traits,
)
from migxai.participant.resources import Memory
from migxai.registration.masks import brain_mask_in_target, template_grid
from migxai.registration.resample import resample_series, resample_to_grid

#: Below these shares of the template's brain a run is doubtful, and useless.
COVERAGE_WARNING, COVERAGE_MINIMUM = 0.9, 0.3


class ResampleBoldInput(BaseInterfaceInputSpec):  # noqa: D101
    bold = traits.File(exists=True, mandatory=True)
    matrices = traits.File(exists=True, mandatory=True)
    to_template = traits.File(exists=True, mandatory=True)
    epi = traits.File(exists=True, mandatory=True)
    epi_mask = traits.File(exists=True, mandatory=True)
    options = traits.Any(mandatory=True)
    facts = traits.Dict(mandatory=True)


class ResampleOutput(TraitedSpec):  # noqa: D101
    series = traits.File(exists=True)
    mask = traits.File(exists=True)
    mean = traits.File(exists=True)
    facts = traits.Dict()


class ResampleBold(Step):
    """Compose motion, coregistration and normalisation; interpolate once, inside the template's brain."""

    input_spec = ResampleBoldInput
    output_spec = ResampleOutput
    memory = Memory(0.3, 8)

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        chain = load_chain(inputs.to_template)
        template_mask = packaged_volume("mask")
        affine, shape = template_grid(template_mask.affine, template_mask.shape, inputs.options.resolution)
        brain = brain_mask_in_target(template_mask, affine, shape)
        bold, bold_affine = load_image(inputs.bold)
        series, inside = resample_series(
            bold, bold_affine, mask=brain, mask_affine=affine, chain=chain, motion=load_array(inputs.matrices)
        )
        epi_mask = load_volume(inputs.epi_mask)
        in_epi = resample_to_grid(epi_mask.data, epi_mask.affine, target_affine=affine, target_shape=shape, chain=chain)
        keep = inside & (in_epi[brain] >= 0.5) & (np.ptp(series, axis=1) > 0)
        mask = brain.copy()
        mask[brain] = keep
        facts = dict(inputs.facts) | {"space": SPACE, "resolution": float(inputs.options.resolution)}
        facts = with_coverage(facts, float(keep.mean()))
        epi = load_volume(inputs.epi)
        mean = resample_to_grid(epi.data, epi.affine, target_affine=affine, target_shape=shape, chain=chain)
        self._results |= {
            "series": self._save_array(runtime, "series.npy", series if keep.all() else series[keep]),
            "mask": self._save_image(runtime, "mask.nii", mask.astype(np.uint8), affine),
            "mean": self._save_image(runtime, "mean.nii", mean, affine),
            "facts": facts,
        }
        return runtime


def with_coverage(facts: dict[str, Any], covered: float) -> dict[str, Any]:
    """Judge what share of the template's brain a run covers, and enter it into the facts.

    Raises
    ------
    RegistrationError
        If it is too little to compute anything from.
    """
    if covered < COVERAGE_MINIMUM:
        raise RegistrationError(
            f"The run covers only {covered:.0%} of the template's brain; its field of view, its brain mask or its "
            "registration is wrong."
        )
    new = dict(facts)
    passed = covered >= COVERAGE_WARNING
    limit = f"at least {COVERAGE_WARNING:.0%}"
    new["quality"] = [*new.get("quality", ()), ["Share of the template's brain covered", covered, "", limit, passed]]
    if not passed:
        new["messages"] = [*new["messages"], f"The run covers only {covered:.0%} of the template's brain."]
    return new


def mean_over_time(data: NDArray[Any]) -> NDArray[np.float32]:
    """Mean of a series (X, Y, Z, T), volume by volume, so that no second copy of it is held."""
    total = np.zeros(data.shape[:3])
    for volume in range(data.shape[3]):
        total += data[..., volume]
    mean: NDArray[np.float32] = (total / data.shape[3]).astype(np.float32)
    return mean
