"""Realign a run, and make the mean image that the other registrations work on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.participant.interfaces.base import BaseInterfaceInputSpec, Step, TraitedSpec, load_image, traits
from migxai.participant.resources import Memory
from migxai.registration.images import mask_centre
from migxai.registration.masks import epi_brain_mask
from migxai.registration.realignment import realign
from migxai.registration.resample import resample_series
from migxai.registration.transforms import save_affines
from migxai.registration.volume import Volume

#: Volumes in the mean image, spread evenly over the run: more would only cost time.
MEAN_VOLUMES = 32


class RealignInput(BaseInterfaceInputSpec):  # noqa: D101
    bold = traits.File(exists=True, mandatory=True)
    facts = traits.Dict(mandatory=True)


class RealignOutput(TraitedSpec):  # noqa: D101
    matrices = traits.File(exists=True)
    transforms = traits.List(traits.File(exists=True))
    mean = traits.File(exists=True)
    mask = traits.File(exists=True)
    facts = traits.Dict()


class Realign(Step):
    """Estimate head motion; average realigned volumes; find the brain in the average."""

    input_spec = RealignInput
    output_spec = RealignOutput
    memory = Memory(0.5, 11)

    def _run_interface(self, runtime: Any) -> Any:
        data, affine = load_image(self.inputs.bold)
        matrices = realign(data, affine)
        mean = mean_image(data, affine, matrices)
        mask = epi_brain_mask(mean)
        transforms = self._path(runtime, "from-orig_to-boldref.txt")
        save_affines(matrices, transforms)
        self._results |= {
            "matrices": self._save_array(runtime, "matrices.npy", matrices),
            "transforms": [transforms],
            "mean": self._save_image(runtime, "mean.nii", mean.data, affine),
            "mask": self._save_image(runtime, "mask.nii", mask.data.astype(np.uint8), affine),
            "facts": dict(self.inputs.facts) | {"head_centre": [float(value) for value in mask_centre(mask)]},
        }
        return runtime


def mean_image(data: NDArray[Any], affine: NDArray[np.float64], matrices: NDArray[np.float64]) -> Volume:
    """Mean of evenly spread volumes, moved to where the first one lies."""
    chosen = np.unique(np.linspace(0, data.shape[3] - 1, MEAN_VOLUMES).astype(int))
    everywhere = np.ones(data.shape[:3], dtype=bool)
    total = np.zeros(everywhere.size)
    for volume in chosen:
        one = slice(volume, volume + 1)
        moved, _ = resample_series(data[..., one], affine, mask=everywhere, mask_affine=affine, motion=matrices[one])
        total += moved[:, 0]
    return Volume((total / len(chosen)).reshape(everywhere.shape).astype(np.float32), affine)
