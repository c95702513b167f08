"""Where classes of a simulated cohort truly differ, which its makers wrote down beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from migxai.io import read_json

#: ``GeneratedBy`` of cohorts that nobody was scanned for.
SIMULATOR = "migxai-demo"


@dataclass(frozen=True, eq=False)
class PlantedEffect:
    """An effect that was planted: voxels (X, Y, Z) where it has at least half its strength, and names of regions."""

    voxels: NDArray[np.bool_]
    regions: tuple[str, ...]


def read_planted_effect(dataset: Path) -> PlantedEffect | None:
    """Read where a simulated cohort's effect was planted, from the folder beside its dataset of maps.

    None if people were scanned for it, there is no effect, or its labels were dealt out at random.
    """
    described, truth = dataset / "dataset_description.json", dataset.parent / "truth"
    if not described.is_file() or not (truth / "maps_effect.json").is_file():
        return None
    makers = [item.get("Name") for item in read_json(described).get("GeneratedBy", [])]
    content = read_json(truth / "maps_effect.json")
    if SIMULATOR not in makers or not content["EffectSize"] or not content["Regions"] or content["LabelsShuffled"]:
        return None
    voxels = np.asarray(nib.nifti1.load(truth / "maps_effect.nii.gz").dataobj) >= 0.5
    return PlantedEffect(voxels, tuple(content["Regions"]))
