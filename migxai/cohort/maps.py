"""Read indicator maps: one volume a person, whatever number of runs they had."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from migxai.errors import ImageError

#: What nibabel raises for files that are no images.
_NIBABELS = (
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    nib.wrapstruct.WrapStructError,
)


def read_map(path: Path) -> NDArray[np.float32]:
    """Read one map, shape (X, Y, Z).

    Raises
    ------
    ImageError
        If it is damaged or cut short, is not 3-D, or holds no signal: nothing but zeros and NaN, or one value
        everywhere.
    """
    try:
        content = path.read_bytes()
        # nibabel reads as many bytes as it needs, and so never comes to the checksum at the end.
        content = gzip.decompress(content) if path.name.endswith(".gz") else content
        data: NDArray[np.float32] = nib.nifti1.Nifti1Image.from_bytes(content).get_fdata(dtype=np.float32)
    except (OSError, EOFError, ValueError, zlib.error, *_NIBABELS) as error:
        why = " ".join(str(error).split())
        raise ImageError(f"{path.name} cannot be read ({why}); make it anew or leave this person out.") from error
    data = data[..., 0] if data.ndim == 4 and data.shape[3] == 1 else data
    if data.ndim != 3:
        raise ImageError(f"{path.name} has the shape {data.shape}; a map is a 3-D image.")
    inside = data[covered(data)]
    if inside.size == 0:
        raise ImageError(f"{path.name} holds nothing but zeros and NaN; make it anew or leave this person out.")
    if inside.min() == inside.max():
        raise ImageError(f"{path.name} has the value {inside[0]:g} everywhere; make it anew or leave this person out.")
    return data


def covered(data: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Say where a map has a value: finite, and not the background's zero."""
    inside: NDArray[np.bool_] = np.isfinite(data) & (data != 0)
    return inside


def read_mean_map(paths: Sequence[Path]) -> NDArray[np.float32]:
    """Read the mean of a person's maps, each voxel over the maps that cover it; 0 where none does.

    Parameters
    ----------
    paths
        Maps of one person on one grid, of several runs or sessions.

    Returns
    -------
    numpy.ndarray
        Shape (X, Y, Z).

    Raises
    ------
    ImageError
        As `read_map`.
    """
    total, count = np.zeros((), np.float32), np.zeros((), np.int32)
    for path in paths:
        data = read_map(path)
        inside = covered(data)
        total = total + np.where(inside, data, np.float32(0))
        count = count + inside
    return (total / np.maximum(count, 1)).astype(np.float32)


def content_hash(paths: Sequence[Path]) -> str:
    """Sixteen hexadecimal digits of what a person's files hold."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
