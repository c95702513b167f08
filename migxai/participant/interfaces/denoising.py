"""Take nuisance signals out of a series, band-pass and smooth it, in the order asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.config import Config
from migxai.io import read_tsv
from migxai.participant.interfaces.base import BaseInterfaceInputSpec, Step, TraitedSpec, load_array, load_image, traits
from migxai.participant.resources import Memory
from migxai.registration.volume import voxel_sizes
from migxai.signal.filtering import bandpass
from migxai.signal.nuisance import NuisanceModel, nuisance_model, regress
from migxai.signal.smoothing import smooth


class DenoiseInput(BaseInterfaceInputSpec):  # noqa: D101
    config = traits.Any(mandatory=True)
    series = traits.File(exists=True, mandatory=True)
    mask = traits.File(exists=True, mandatory=True)
    confounds = traits.File(exists=True, mandatory=True)
    facts = traits.Dict(mandatory=True)


class DenoiseOutput(TraitedSpec):  # noqa: D101
    unfiltered = traits.File(exists=True)
    filtered = traits.File(exists=True)
    mask = traits.File(exists=True)
    confounds = traits.File(exists=True)
    facts = traits.Dict()


class Denoise(Step):
    """Write the two series that indicators are computed from (see `migxai.indicators.registry.Denoised`)."""

    input_spec = DenoiseInput
    output_spec = DenoiseOutput
    memory = Memory(0.3, 2, in_template=True)

    def _run_interface(self, runtime: Any) -> Any:
        config: Config = self.inputs.config
        facts = dict(self.inputs.facts)
        options = config.denoising
        series = load_array(self.inputs.series)
        image, affine = load_image(self.inputs.mask)
        mask, sizes = image.astype(bool), tuple(voxel_sizes(affine))
        table = read_tsv(Path(self.inputs.confounds), numbers=True)
        design = table[facts["nuisance_regressors"]].to_numpy()
        kept = table["kept"].to_numpy().astype(bool)
        model = nuisance_model(design, facts["repetition_time"], options.low, options.high, kept=kept)
        if options.order == "paper":
            filtered = self._save_array(
                runtime, "filtered.npy", paper_order(series, design, mask, sizes, config, facts)
            )
            unfiltered = filtered
        else:
            regressed = smooth(model.regressed(series), mask, sizes, options.fwhm)
            unfiltered = self._save_array(runtime, "unfiltered.npy", regressed)
            del regressed
            filtered = self._save_array(runtime, "filtered.npy", model.filtered(series))
        self._results |= {
            "unfiltered": unfiltered,
            "filtered": filtered,
            "mask": self.inputs.mask,
            "confounds": self.inputs.confounds,
            "facts": facts | denoising_facts(config, model),
        }
        return runtime


def paper_order(
    series: NDArray[Any],
    design: NDArray[np.float64],
    mask: NDArray[np.bool_],
    sizes: tuple[float, ...],
    config: Config,
    facts: dict[str, Any],
) -> NDArray[Any]:
    """Band-pass, smooth, regress: the paper's order, with the nuisance columns as they are."""
    options = config.denoising
    filtered = bandpass(series, facts["repetition_time"], options.low, options.high)
    return regress(smooth(filtered, mask, sizes, options.fwhm), design)


def denoising_facts(config: Config, model: NuisanceModel) -> dict[str, Any]:
    """Gather what sidecars and the report say of the denoising."""
    options = config.denoising
    paper = options.order == "paper"
    return {
        "order": "band-pass, smooth, regress" if paper else "regress and band-pass together, then smooth",
        "band": [options.low, options.high],
        "fwhm": options.fwhm,
        "filtered_fwhm": options.fwhm if paper else 0.0,
        "band_dimensions": model.band_dimensions,
        "design_rank": model.design_rank,
        "residual_dof": model.residual_dof,
        "dof_warning": model.warning,
        "censored": int((~model.kept).sum()),
    }
