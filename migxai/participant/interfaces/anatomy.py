"""Find the brain in a T1w image, normalise it, and write both as derivatives."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from migxai.bids.names import derivative_path
from migxai.bids.outputs import sidecar
from migxai.config import Preprocessing
from migxai.data import SPACE
from migxai.errors import ImageError
from migxai.io import copy_with, write_json, write_nifti
from migxai.participant.interfaces.base import (
    BaseInterfaceInputSpec,
    Step,
    TraitedSpec,
    load_chain,
    load_image,
    load_volume,
    packaged_volume,
    save_chain,
    traits,
)
from migxai.participant.resources import Memory
from migxai.registration.brain import extract_brain
from migxai.registration.engines import Registration, find_engine
from migxai.registration.normalise import T1W_GATE, Brain, compact, t1w_to_template
from migxai.registration.quality import Gate, Quality
from migxai.registration.resample import resample_to_grid
from migxai.registration.transforms import save_transform
from migxai.registration.volume import Volume
from migxai.reports.figures import overlays

logger = logging.getLogger("migxai")


class ExtractBrainInput(BaseInterfaceInputSpec):  # noqa: D101
    t1w = traits.Str(mandatory=True)
    options = traits.Any(mandatory=True)


class ExtractBrainOutput(TraitedSpec):  # noqa: D101
    image = traits.File(exists=True)
    mask = traits.File(exists=True)
    facts = traits.Dict()


class ExtractBrain(Step):
    """Find the brain in a T1w image."""

    input_spec = ExtractBrainInput
    output_spec = ExtractBrainOutput
    memory = Memory(2.0)

    def _run_interface(self, runtime: Any) -> Any:
        options: Preprocessing = self.inputs.options
        t1w = read_anatomy(Path(self.inputs.t1w))
        found = extract_brain(t1w, options.skull_strip_t1w)
        done = ("done", "with deepbet") if found.method == "deepbet" else ("skipped", "the image has no skull")
        facts = {"messages": [], "quality": [], "steps": [["Brain extraction", *done]], "extraction": found.method}
        self._results |= {
            "image": self._save_image(runtime, "t1w.nii", t1w.data, t1w.affine),
            "mask": self._save_image(runtime, "mask.nii", found.mask.data.astype(np.uint8), t1w.affine),
            "facts": facts,
        }
        return runtime


def read_anatomy(path: Path) -> Volume:
    """Read a T1w image.

    Raises
    ------
    ImageError
        If it can't be read, is not 3-D, or is empty.
    """
    try:
        image = nib.nifti1.load(path)
        data = np.nan_to_num(image.get_fdata(dtype=np.float32))
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise ImageError(f"{path.name} can't be read ({error}); copy or convert it again.") from error
    if data.ndim != 3 or not data.any():
        raise ImageError(f"{path.name} is no T1w image: its shape is {data.shape}, its largest value {data.max():g}.")
    return Volume(data, image.affine)


class NormaliseT1wInput(BaseInterfaceInputSpec):  # noqa: D101
    image = traits.File(exists=True, mandatory=True)
    mask = traits.File(exists=True, mandatory=True)
    facts = traits.Dict(mandatory=True)
    options = traits.Any(mandatory=True)


class NormaliseT1wOutput(TraitedSpec):  # noqa: D101
    to_template = traits.File(exists=True)
    from_template = traits.File(exists=True)
    facts = traits.Dict()


class NormaliseT1w(Step):
    """Normalise a T1w image to the packaged template."""

    input_spec = NormaliseT1wInput
    output_spec = NormaliseT1wOutput
    memory = Memory(1.2)

    def _run_interface(self, runtime: Any) -> Any:
        engine = find_engine(self.inputs.options.registration)
        t1w = Brain(load_volume(self.inputs.image), load_volume(self.inputs.mask))
        found = t1w_to_template(t1w, template_brain(), engine)
        facts = dict(self.inputs.facts)
        facts["engine"] = engine.name
        facts["steps"] = [*facts["steps"], ["T1w to template", "done", f"affine and deformable, {engine.name}"]]
        facts["quality"] = [*facts["quality"], *quality_rows("T1w to template", found.quality, T1W_GATE)]
        self._results |= {
            "to_template": save_chain(self._path(runtime, "forward.npz"), found.registration.forward),
            "from_template": save_chain(self._path(runtime, "inverse.npz"), found.registration.inverse),
            "facts": facts,
        }
        return runtime


def template_brain() -> Brain:
    """Return the packaged T1w template and its brain mask."""
    return Brain(packaged_volume("T1w"), packaged_volume("mask"))


def quality_rows(what: str, seen: Quality, gate: Gate) -> list[list[Any]]:
    """Rows for the report: name, value, unit, limit, passed."""
    return [
        [f"{what}: overlap of the brains (Dice)", round(seen.dice, 3), "", f"at least {gate.dice:g}", True],
        [
            f"{what}: normalised mutual information − 1",
            round(seen.similarity, 4),
            "",
            f"at least {gate.similarity:g} and above the start's {seen.similarity_before:.4f}",
            True,
        ],
    ]


class WriteAnatomyInput(BaseInterfaceInputSpec):  # noqa: D101
    output_dir = traits.Str(mandatory=True)
    entities = traits.Dict(mandatory=True)
    sources = traits.List(traits.Str(), mandatory=True)
    image = traits.File(exists=True, mandatory=True)
    mask = traits.File(exists=True, mandatory=True)
    to_template = traits.File(exists=True, mandatory=True)
    from_template = traits.File(exists=True, mandatory=True)
    facts = traits.Dict(mandatory=True)


class WriteAnatomyOutput(TraitedSpec):  # noqa: D101
    written = traits.List(traits.Str())


class WriteAnatomy(Step):
    """Write brain mask, transforms and their picture."""

    input_spec = WriteAnatomyInput
    output_spec = WriteAnatomyOutput
    memory = Memory(1.0)
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        self._root, self._entities = Path(inputs.output_dir), dict(inputs.entities)
        self._written: list[Path] = []
        image, affine = load_image(inputs.image)
        mask, _ = load_image(inputs.mask)
        path = self._place("mask", ".nii.gz", desc="brain")
        write_nifti(path, mask, affine, dtype="uint8")
        content = {"Type": "Brain", "Method": inputs.facts["extraction"]}
        self._describe(path, "Brain in the T1w image.", content)
        forward, inverse = load_chain(inputs.to_template), load_chain(inputs.from_template)
        template = packaged_volume("T1w")
        found = compact(Registration(forward, inverse), template, Volume(mask, affine))
        for source, target, chain in (("T1w", SPACE, found.forward), (SPACE, "T1w", found.inverse)):
            path = self._place("xfm", ".nii.gz", **{"from": source, "to": target, "mode": "image"})
            copy_with(path, functools.partial(save_transform, chain))
            text = f"ITK displacement field: carries images from {source} to {target}, and points the other way."
            self._describe(path, text, {"Engine": inputs.facts["engine"]})
        brain = Volume(np.where(mask > 0, image, 0), affine)
        moved = resample_to_grid(
            brain.data, affine, target_affine=template.affine, target_shape=template.shape, chain=forward
        )
        figure = overlays.plot_registration(
            template,
            template.with_data(moved),
            packaged_volume("mask"),
            self._figure(),
            names=("template", "T1w"),
            contour=packaged_volume("WM"),
        )
        self._written.append(figure)
        self._results["written"] = [path.relative_to(self._root).as_posix() for path in self._written]
        return runtime

    def _place(self, suffix: str, extension: str, **more: str) -> Path:
        path = self._root / derivative_path({**self._entities, **more}, suffix, extension, datatype="anat")
        self._written.append(path)
        return path

    def _figure(self) -> Path:
        stem = "_".join(f"{key}-{value}" for key, value in self._entities.items())
        folder = self._root / f"sub-{self._entities['sub']}" / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{stem}_desc-normalization_T1w.svg"

    def _describe(self, path: Path, text: str, fields: dict[str, Any]) -> None:
        place = path.with_name(path.name.split(".")[0] + ".json")
        write_json(place, sidecar(text, sources=self.inputs.sources, **fields))
        self._written.append(place)
