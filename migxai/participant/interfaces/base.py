"""What all migxai interfaces share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, TraitedSpec, traits
from numpy.typing import NDArray

from migxai.data import template
from migxai.data.templates import TemplateName
from migxai.execution.plugins.measured import MeasuredInterface
from migxai.participant.resources import Memory
from migxai.registration.transforms import Affine, Chain, Field
from migxai.registration.volume import Volume

__all__ = ["BaseInterfaceInputSpec", "Step", "TraitedSpec", "traits"]


class Step(MeasuredInterface):
    """A step of a workflow: reads files, calls pure functions, writes files into the node's directory.

    ``facts`` are what later steps, sidecars and the report must know of what was really done: a flat dictionary of
    plain values that travels along the chain and grows at each step.
    """

    #: What the step needs in a process of its own.
    memory = Memory(0.3)

    def _path(self, runtime: Any, name: str) -> str:
        return str(Path(runtime.cwd) / name)

    def _save_image(self, runtime: Any, name: str, data: NDArray[Any], affine: NDArray[np.float64]) -> str:
        """Write an intermediate image, uncompressed so that it can be memory-mapped."""
        path = self._path(runtime, name)
        nib.Nifti1Image(data, affine).to_filename(path)
        return path

    def _save_array(self, runtime: Any, name: str, data: NDArray[Any]) -> str:
        path = self._path(runtime, name)
        np.save(path, data, allow_pickle=False)
        return path

    def _save_arrays(self, runtime: Any, name: str, arrays: dict[str, NDArray[Any]]) -> str:
        path = self._path(runtime, name)
        np.savez(path, allow_pickle=False, **arrays)
        return path


def load_array(path: str) -> NDArray[Any]:
    """Memory-map an intermediate array read-only."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def load_image(path: str) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Read an image as stored, without scaling (ours have none)."""
    image = nib.nifti1.load(path)
    return np.asanyarray(image.dataobj), image.affine


def save_chain(path: str, chain: Chain) -> str:
    """Keep a chain of transforms without loss between nodes (.npz)."""
    arrays: dict[str, NDArray[Any]] = {}
    for place, step in enumerate(chain.steps):
        if isinstance(step, Affine):
            arrays[f"{place}-matrix"] = step.matrix
        else:
            arrays[f"{place}-displacements"], arrays[f"{place}-grid"] = step.displacements, step.affine
    np.savez(path, allow_pickle=False, **arrays)
    return path


def load_chain(path: str) -> Chain:
    """Read what `save_chain` wrote."""
    steps: list[Affine | Field] = []
    with np.load(path, allow_pickle=False) as arrays:
        for place in range(len({name.split("-")[0] for name in arrays.files})):
            if f"{place}-matrix" in arrays:
                steps.append(Affine(arrays[f"{place}-matrix"]))
            else:
                steps.append(Field(arrays[f"{place}-displacements"], arrays[f"{place}-grid"]))
    return Chain(tuple(steps))


def load_volume(path: str) -> Volume:
    """Read a 3-D intermediate image."""
    return Volume(*load_image(path))


def packaged_volume(name: TemplateName) -> Volume:
    """Read a packaged image of the template, scaled as its header says."""
    image = nib.nifti1.load(template(name))
    return Volume(image.get_fdata(dtype=np.float32), image.affine)
