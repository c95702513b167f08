"""What all steps share: how they name inputs and outputs, and how they keep arrays between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, TraitedSpec, Undefined, traits
from numpy.typing import NDArray

from migxai.execution.plugins.workflows import MeasuredInterface
from migxai.participant.resources import Memory
from migxai.registration.space import Affine, Chain, Field, Volume

Kind = Literal["file", "file?", "files", "value", "value?"]


def inputs(**kinds: Kind) -> type[BaseInterfaceInputSpec]:
    """Make a nipype input specification.

    Parameters
    ----------
    **kinds
        Of each input ``file`` or ``files``, whose content nipype's cache compares, or ``value``, any plain value or
        frozen dataclass, compared by its representation. ``?`` marks what may be left out.
    """
    return type("input_spec", (BaseInterfaceInputSpec,), {name: _trait(kind) for name, kind in kinds.items()})


def outputs(**kinds: Kind) -> type[TraitedSpec]:
    """Make a nipype output specification of kinds as for `inputs`."""
    return type("output_spec", (TraitedSpec,), {name: _trait(kind) for name, kind in kinds.items()})


def _trait(kind: Kind) -> Any:
    needed = not kind.endswith("?")
    if kind == "files":
        return traits.List(traits.File(exists=True), value=[], usedefault=True, mandatory=needed)
    if kind in ("value", "value?"):
        return traits.Any(Undefined if needed else None, mandatory=needed)
    return traits.File(exists=True, mandatory=needed)


class Step(MeasuredInterface):
    """A step of a workflow: reads files, calls pure functions, writes files into the node's folder.

    A subclass names its inputs and outputs with the functions above and makes the outputs in `_make`.
    """

    #: What the step needs in a process of its own.
    memory = Memory(0.3)

    def __init_subclass__(cls) -> None:
        # nipype pickles results, and pickle finds a class by its module and qualified name.
        for name in ("input_spec", "output_spec"):
            spec = getattr(cls, name)
            spec.__module__, spec.__qualname__ = cls.__module__, f"{cls.__qualname__}.{name}"

    def _make(self, folder: Path) -> dict[str, Any]:
        """Make the outputs from ``self.inputs``, files of them in the node's folder, and return them by name."""
        raise NotImplementedError

    def _run_interface(self, runtime: Any) -> Any:
        self._results |= self._make(Path(runtime.cwd))
        return runtime


def save_image(path: Path, data: NDArray[Any], affine: NDArray[np.float64]) -> str:
    """Write an intermediate image, uncompressed so that it can be memory-mapped."""
    nib.Nifti1Image(data, affine).to_filename(path)
    return str(path)


def save_array(path: Path, data: NDArray[Any]) -> str:
    """Write an intermediate array (.npy)."""
    np.save(path, data, allow_pickle=False)
    return str(path)


def save_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> str:
    """Write intermediate arrays (.npz)."""
    np.savez(path, allow_pickle=False, **arrays)
    return str(path)


def save_chain(path: Path, chain: Chain) -> str:
    """Keep a chain of transforms without loss between nodes (.npz)."""
    arrays: dict[str, NDArray[Any]] = {}
    for place, step in enumerate(chain.steps):
        if isinstance(step, Affine):
            arrays[f"{place}-matrix"] = step.matrix
        else:
            arrays[f"{place}-displacements"], arrays[f"{place}-grid"] = step.displacements, step.affine
    return save_arrays(path, arrays)


def load_array(path: str) -> NDArray[Any]:
    """Memory-map an intermediate array read-only."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def load_arrays(path: str) -> dict[str, NDArray[Any]]:
    """Read what `save_arrays` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def load_chain(path: str) -> Chain:
    """Read what `save_chain` wrote."""
    steps: list[Affine | Field] = []
    arrays = load_arrays(path)
    for place in range(len({name.split("-")[0] for name in arrays})):
        if f"{place}-matrix" in arrays:
            steps.append(Affine(arrays[f"{place}-matrix"]))
        else:
            steps.append(Field(arrays[f"{place}-displacements"], arrays[f"{place}-grid"]))
    return Chain(tuple(steps))


def load_image(path: str) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Read an image as stored, without scaling (ours have none)."""
    image = nib.nifti1.load(path)
    return np.asanyarray(image.dataobj), image.affine


def load_volume(path: str) -> Volume:
    """Read a 3-D intermediate image."""
    return Volume(*load_image(path))


def on_grid(values: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """Put voxel values (V,) on their grid; a map that is on it already stays as it is."""
    if values.ndim == mask.ndim:
        return values
    grid = np.zeros(mask.shape, dtype=values.dtype)
    grid[mask] = values
    return grid
