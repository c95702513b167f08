"""Register a run: find the brain in its T1w image, normalise that, and bring the mean EPI to it, or to the template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from migxai.config import Preprocessing
from migxai.data import SPACE
from migxai.errors import ImageError
from migxai.participant.facts import AnatomyFacts, RegistrationFacts
from migxai.participant.interfaces.base import Step, inputs, load_chain, load_volume, outputs, save_chain, save_image
from migxai.participant.resources import Memory
from migxai.registration.engines import find_engine
from migxai.registration.masks import extract_brain
from migxai.registration.normalise import (
    EPI_GATE,
    EPI_T1W_GATE,
    T1W_GATE,
    Brain,
    Tissues,
    compact,
    epi_to_t1w,
    epi_to_template,
    t1w_to_template,
)
from migxai.registration.quality import Gate, Quality
from migxai.registration.resample import resample_to_grid
from migxai.registration.space import Volume, crop_grid, save_transform, template_volume
from migxai.reports.participant.report import ProcessingStep, QualityMeasure


class ExtractBrain(Step):
    """Find the brain in a T1w image; `extraction` says how."""

    input_spec = inputs(t1w="value", options="value")
    output_spec = outputs(image="file", mask="file", extraction="value")
    memory = Memory(2.0)

    def _make(self, folder: Path) -> dict[str, Any]:
        options: Preprocessing = self.inputs.options
        t1w = read_anatomy(Path(self.inputs.t1w))
        found = extract_brain(t1w, options.skull_strip_t1w)
        return {
            "image": save_image(folder / "t1w.nii", t1w.data, t1w.affine),
            "mask": save_image(folder / "mask.nii", found.mask.data.astype(np.uint8), t1w.affine),
            "extraction": found.method,
        }


def read_anatomy(path: Path) -> Volume:
    """Read a T1w image; ImageError if it can't be read, is not 3-D, or is empty."""
    try:
        image = nib.nifti1.load(path)
        data = np.nan_to_num(image.get_fdata(dtype=np.float32))
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise ImageError(f"{path.name} can't be read ({error}); copy or convert it again.") from error
    if data.ndim != 3 or not data.any():
        raise ImageError(f"{path.name} is no T1w image: its shape is {data.shape}, its largest value {data.max():g}.")
    return Volume(data, image.affine)


class NormaliseT1w(Step):
    """Normalise a T1w image to the packaged template."""

    input_spec = inputs(image="file", mask="file", extraction="value", options="value")
    output_spec = outputs(to_template="file", from_template="file", anatomy="value")
    memory = Memory(1.2)

    def _make(self, folder: Path) -> dict[str, Any]:
        engine = find_engine(self.inputs.options.registration)
        t1w = Brain(load_volume(self.inputs.image), load_volume(self.inputs.mask))
        found = t1w_to_template(t1w, Brain(template_volume("T1w"), template_volume("mask")), engine)
        extracted = self.inputs.extraction == "deepbet"
        steps = (
            ProcessingStep("Brain extraction", "done", "with deepbet")
            if extracted
            else ProcessingStep("Brain extraction", "skipped", "the image has no skull"),
            ProcessingStep("T1w to template", "done", f"affine and deformable, {engine.name}"),
        )
        quality = quality_rows("T1w to template", found.quality, T1W_GATE)
        return {
            "to_template": save_chain(folder / "forward.npz", found.registration.forward),
            "from_template": save_chain(folder / "inverse.npz", found.registration.inverse),
            "anatomy": AnatomyFacts(self.inputs.extraction, engine.name, steps, quality),
        }


class CoregisterToT1w(Step):
    """Align the EPI with the T1w, compose with the T1w's normalisation, and bring both to one grid for the picture."""

    input_spec = inputs(
        epi="file", epi_mask="file", t1w="file", t1w_mask="file", t1w_to_template="file", options="value"
    )
    output_spec = outputs(
        to_template="file", transforms="files", registration="value", t1w_brain="file", epi_in_t1w="file"
    )
    memory = Memory(1.2)

    def _make(self, folder: Path) -> dict[str, Any]:
        files = self.inputs
        engine = find_engine(files.options.registration)
        epi = Brain(load_volume(files.epi), load_volume(files.epi_mask))
        t1w = Brain(load_volume(files.t1w), load_volume(files.t1w_mask))
        found = epi_to_t1w(epi, t1w, engine)
        forward, inverse = found.registration.forward, found.registration.inverse
        transforms = {"from-boldref_to-T1w.txt": forward, "from-T1w_to-boldref.txt": inverse}
        for name, chain in transforms.items():
            save_transform(chain, folder / name)
        grid, shape = crop_grid(t1w.mask, 2.0)
        moved = resample_to_grid(
            epi.image.data, epi.image.affine, target_affine=grid, target_shape=shape, chain=forward
        )
        brain = np.where(t1w.mask.data.astype(bool), t1w.image.data, 0)
        still = resample_to_grid(brain, t1w.image.affine, target_affine=grid, target_shape=shape)
        return {
            "to_template": save_chain(folder / "to_template.npz", load_chain(files.t1w_to_template).then(forward)),
            "transforms": [str(folder / name) for name in transforms],
            "registration": RegistrationFacts(
                "one: motion, EPI to T1w and T1w to template composed",
                (ProcessingStep("EPI to T1w", "done", f"rigid, {engine.name}"),),
                quality_rows("EPI to T1w", found.quality, EPI_T1W_GATE),
            ),
            "t1w_brain": save_image(folder / "t1w_brain.nii", still, grid),
            "epi_in_t1w": save_image(folder / "epi_in_t1w.nii", moved, grid),
        }


class NormaliseEpi(Step):
    """Normalise the EPI to the packaged EPI template, without a T1w."""

    input_spec = inputs(epi="file", epi_mask="file", options="value")
    output_spec = outputs(to_template="file", transforms="files", registration="value")
    memory = Memory(1.2)

    def _make(self, folder: Path) -> dict[str, Any]:
        engine = find_engine(self.inputs.options.registration)
        epi = Brain(load_volume(self.inputs.epi), load_volume(self.inputs.epi_mask))
        template = Brain(template_volume("boldref"), template_volume("mask"))
        tissues = Tissues(template_volume("WM"), template_volume("CSF"), template_volume("mask"))
        found = epi_to_template(epi, template, tissues, engine)
        how = f"affine, then deformable to the template in the contrast of the EPI, {engine.name}"
        kept = compact(found.registration, template.image, epi.mask)
        transforms = {f"from-boldref_to-{SPACE}.nii.gz": kept.forward, f"from-{SPACE}_to-boldref.nii.gz": kept.inverse}
        for name, chain in transforms.items():
            save_transform(chain, folder / name)
        return {
            "to_template": save_chain(folder / "to_template.npz", found.registration.forward),
            "transforms": [str(folder / name) for name in transforms],
            "registration": RegistrationFacts(
                "one: motion and EPI to template composed",
                (ProcessingStep("EPI to template", "done", how),),
                quality_rows("EPI to template", found.quality, EPI_GATE),
            ),
        }


def quality_rows(what: str, seen: Quality, gate: Gate) -> tuple[QualityMeasure, QualityMeasure]:
    """Return the report's rows of a registration that passed its gate."""
    return (
        QualityMeasure(
            f"{what}: overlap of the brains (Dice)", round(seen.dice, 3), "", f"at least {gate.dice:g}", True
        ),
        QualityMeasure(
            f"{what}: normalised mutual information − 1",
            round(seen.similarity, 4),
            "",
            f"at least {gate.similarity:g} and above the start's {seen.similarity_before:.4f}",
            True,
        ),
    )
