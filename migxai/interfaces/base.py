"""What all migxai interfaces share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, TraitedSpec, traits
from numpy.typing import NDArray

__all__ = ["BaseInterfaceInputSpec", "Step", "TraitedSpec", "traits"]


class Step(SimpleInterface):
    """A step of a workflow: reads files, calls pure functions, writes files into the node's directory.

    ``facts`` are what later steps, sidecars and the report must know of what was really done: a flat dictionary of
    plain values that travels along the chain and grows at each step.
    """

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


def load_array(path: str) -> NDArray[Any]:
    """Memory-map an intermediate array read-only."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def load_image(path: str) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Read an image as stored, without scaling (ours have none)."""
    image = nib.load(path)
    return np.asanyarray(image.dataobj), image.affine
