"""Register the mean EPI: to the T1w of the same head, or straight to the EPI template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from migxai.data import SPACE
from migxai.participant.interfaces.anatomy import quality_rows
from migxai.participant.interfaces.base import (
    BaseInterfaceInputSpec,
    Step,
    TraitedSpec,
    load_chain,
    load_volume,
    packaged_volume,
    save_chain,
    traits,
)
from migxai.participant.resources import Memory
from migxai.registration.contrast import Tissues
from migxai.registration.engines import find_engine
from migxai.registration.images import crop_grid
from migxai.registration.normalise import (
    EPI_GATE,
    EPI_T1W_GATE,
    Brain,
    Normalisation,
    compact,
    epi_to_t1w,
    epi_to_template,
)
from migxai.registration.resample import resample_to_grid
from migxai.registration.transforms import Chain, save_transform


class NormaliseEpiInput(BaseInterfaceInputSpec):  # noqa: D101
    epi = traits.File(exists=True, mandatory=True)
    epi_mask = traits.File(exists=True, mandatory=True)
    facts = traits.Dict(mandatory=True)
    options = traits.Any(mandatory=True)


class CoregisterToT1wInput(NormaliseEpiInput):  # noqa: D101
    t1w = traits.File(exists=True, mandatory=True)
    t1w_mask = traits.File(exists=True, mandatory=True)
    t1w_to_template = traits.File(exists=True, mandatory=True)


class RegisterOutput(TraitedSpec):  # noqa: D101
    to_template = traits.File(exists=True)
    transforms = traits.List(traits.File(exists=True))
    facts = traits.Dict()


class CoregisterOutput(RegisterOutput):  # noqa: D101
    t1w_brain = traits.File(exists=True)
    epi_in_t1w = traits.File(exists=True)


class CoregisterToT1w(Step):
    """Align the EPI with the T1w, and compose with the T1w's normalisation."""

    input_spec = CoregisterToT1wInput
    output_spec = CoregisterOutput
    memory = Memory(1.2)

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        engine = find_engine(inputs.options.registration)
        epi = Brain(load_volume(inputs.epi), load_volume(inputs.epi_mask))
        t1w = Brain(load_volume(inputs.t1w), load_volume(inputs.t1w_mask))
        found = epi_to_t1w(epi, t1w, engine)
        facts = with_registration(inputs.facts, "EPI to T1w", f"rigid, {engine.name}", found, EPI_T1W_GATE)
        facts["interpolations"] = "one: motion, EPI to T1w and T1w to template composed"
        paths = []
        for name, chain in (("from-boldref_to-T1w", "forward"), ("from-T1w_to-boldref", "inverse")):
            paths.append(self._path(runtime, f"{name}.txt"))
            _save(getattr(found.registration, chain), paths[-1])
        composed = load_chain(inputs.t1w_to_template).then(found.registration.forward)
        grid, shape = crop_grid(t1w.mask, 2.0)
        moved = resample_to_grid(
            epi.image.data, epi.image.affine, target_affine=grid, target_shape=shape, chain=found.registration.forward
        )
        brain = np.where(t1w.mask.data.astype(bool), t1w.image.data, 0)
        still = resample_to_grid(brain, t1w.image.affine, target_affine=grid, target_shape=shape)
        self._results |= {
            "to_template": save_chain(self._path(runtime, "to_template.npz"), composed),
            "transforms": paths,
            "facts": facts,
            "t1w_brain": self._save_image(runtime, "t1w_brain.nii", still, grid),
            "epi_in_t1w": self._save_image(runtime, "epi_in_t1w.nii", moved, grid),
        }
        return runtime


class NormaliseEpi(Step):
    """Normalise the EPI to the packaged EPI template, without a T1w."""

    input_spec = NormaliseEpiInput
    output_spec = RegisterOutput
    memory = Memory(1.2)

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        engine = find_engine(inputs.options.registration)
        epi = Brain(load_volume(inputs.epi), load_volume(inputs.epi_mask))
        template = Brain(packaged_volume("boldref"), packaged_volume("mask"))
        tissues = Tissues(packaged_volume("WM"), packaged_volume("CSF"), packaged_volume("mask"))
        found = epi_to_template(epi, template, tissues, engine)
        how = f"affine, then deformable to the template in the contrast of the EPI, {engine.name}"
        facts = with_registration(inputs.facts, "EPI to template", how, found, EPI_GATE)
        facts["interpolations"] = "one: motion and EPI to template composed"
        kept = compact(found.registration, template.image, epi.mask)
        paths = []
        for name, chain in ((f"from-boldref_to-{SPACE}", kept.forward), (f"from-{SPACE}_to-boldref", kept.inverse)):
            paths.append(self._path(runtime, f"{name}.nii.gz"))
            _save(chain, paths[-1])
        self._results |= {
            "to_template": save_chain(self._path(runtime, "to_template.npz"), found.registration.forward),
            "transforms": paths,
            "facts": facts,
        }
        return runtime


def with_registration(facts: dict[str, Any], what: str, how: str, found: Normalisation, gate: Any) -> dict[str, Any]:
    """Enter a registration that passed its gate into the facts."""
    new = dict(facts)
    new["steps"] = [*new.get("steps", ()), [what, "done", how]]
    new["quality"] = [*new.get("quality", ()), *quality_rows(what, found.quality, gate)]
    return new


def _save(chain: Chain, path: str) -> None:
    save_transform(chain, Path(path))
