"""Prepared maps as nodes read them, and the frozen features that networks learn from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from migxai.config import Learning
from migxai.explain.volumes import SliceSpace
from migxai.learning.devices import choose_device
from migxai.learning.estimators import is_deep
from migxai.learning.slices import SliceGeometry
from migxai.learning.store import FeatureStore, extract_subject, is_extracted, make_recipe
from migxai.learning.types import Inputs
from migxai.metrics.types import IntArray
from migxai.participant.interfaces.base import BaseInterfaceInputSpec, Step, TraitedSpec, load_array, traits


@dataclass(frozen=True)
class MapArrays:
    """Where the prepared maps of one indicator lie; row i of everything is person i.

    Attributes
    ----------
    indicator
        Its name.
    planes
        Slices (N, S, H0, W0), a ``.npy`` file.
    tables
        ``regions`` (N, R), ``nuisance`` (N, P) and ``nuisance_names`` (P,), an ``.npz`` file.
    subjects, sites, hashes
        Key and site of each person, and digest of their maps.
    geometry
        Where the slices were cut.
    template
        The template's ``brain`` and the atlas's ``labels`` on the geometry's grid (X, Y, Z), the ``indices`` and
        ``names`` of its regions (R,), and of a simulated cohort where its effect was ``planted``, an ``.npz`` file.
    features
        Folder of the stores of frozen features.
    """

    indicator: str
    planes: str
    tables: str
    subjects: tuple[str, ...]
    sites: tuple[str, ...]
    hashes: tuple[str, ...]
    geometry: SliceGeometry
    template: str
    features: str

    def inputs(self) -> Inputs:
        """Read what estimators of whole subjects need."""
        with np.load(self.tables, allow_pickle=False) as tables:
            names = tuple(str(name) for name in tables["nuisance_names"])
            return Inputs(self.subjects, tables["regions"], tables["nuisance"], names)


class ExtractFeaturesInput(BaseInterfaceInputSpec):  # noqa: D101
    model = traits.Str(mandatory=True, desc="the network")
    arrays = traits.Any(mandatory=True, desc="a MapArrays")
    rows = traits.List(traits.Int, mandatory=True, desc="the people whose features are made")
    settings = traits.Any(mandatory=True, desc="migxai.config.Learning")
    seed = traits.Int(mandatory=True, desc="of the run")


class ExtractFeaturesOutput(TraitedSpec):  # noqa: D101
    store = traits.Str(desc="key of the store that holds them")


class ExtractFeatures(Step):
    """Run the frozen part of a network over the slices of some people, but for those that are in the store already."""

    input_spec = ExtractFeaturesInput
    output_spec = ExtractFeaturesOutput
    # What is there already is known by its files; nipype, which sees none of them, would take its own word for it.
    _always_run = True

    def _run_interface(self, runtime):  # type: ignore[no-untyped-def]
        arrays, settings = self.inputs.arrays, self.inputs.settings
        recipe = make_recipe(self.inputs.model, settings, arrays.geometry, self.inputs.seed)
        folder, planes = Path(arrays.features), load_array(arrays.planes)
        missing = [
            row
            for row in self.inputs.rows
            if not is_extracted(recipe, folder=folder, subject=arrays.subjects[row], map_hash=arrays.hashes[row])
        ]
        if missing:
            from migxai.learning.backbone import make_backbone

            backbone = make_backbone(
                self.inputs.model, settings, self.inputs.seed, device=choose_device(settings.device)
            )
            for row in missing:
                extract_subject(
                    backbone,
                    np.array(planes[row]),
                    recipe,
                    folder=folder,
                    subject=arrays.subjects[row],
                    map_hash=arrays.hashes[row],
                )
        self._results["store"] = recipe.key
        return runtime


def with_store(inputs: Inputs, arrays: MapArrays, model: str, settings: Learning, seed: int) -> Inputs:
    """Give inputs the store of a network's features; they stay as they are for a model that needs none.

    Raises
    ------
    InputError
        If features are missing or damaged.
    """
    if not is_deep(model):
        return inputs
    recipe = make_recipe(model, settings, arrays.geometry, seed)
    store = FeatureStore.open(Path(arrays.features), recipe.key, arrays.hashes, arrays.subjects)
    return dataclasses.replace(inputs, store=store)


def slice_space(arrays: MapArrays) -> tuple[SliceSpace, IntArray, tuple[int, ...]]:
    """Return the voxels that slices show, the region of each (V,), and the regions' labels."""
    with np.load(arrays.template, allow_pickle=False) as kept:
        space = SliceSpace(arrays.geometry, kept["brain"])
        return space, kept["labels"][space.inside], tuple(kept["indices"].tolist())
