"""Images as an array and where it lies in the world, and other grids for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from migxai.data import template
from migxai.data.templates import TemplateName
from migxai.errors import ImageError, RegistrationError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3-D image with its voxel-to-world matrix.

    Parameters
    ----------
    data
        Array (X, Y, Z).
    affine
        Voxel indices to RAS world coordinates in mm, (4, 4).

    Raises
    ------
    ImageError
        If the array is not 3-D or the affine is not an invertible (4, 4) matrix.
    """

    data: NDArray[Any]
    affine: FloatArray

    def __post_init__(self) -> None:
        affine = np.asarray(self.affine, dtype=np.float64)
        if self.data.ndim != 3:
            raise ImageError(f"A 3-D image is needed here, but this one has shape {self.data.shape}.")
        check_affine(affine)
        object.__setattr__(self, "affine", affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along each axis."""
        x, y, z = self.data.shape
        return x, y, z

    @property
    def voxel_sizes(self) -> FloatArray:
        """Length of the three voxel edges in mm, (3,)."""
        return voxel_sizes(self.affine)

    def with_data(self, data: NDArray[Any]) -> Volume:
        """Return other values on the same grid."""
        return Volume(data, self.affine)


def voxel_sizes(affine: FloatArray) -> FloatArray:
    """Length of a grid's three voxel edges in mm, (3,), from its voxel-to-world matrix."""
    sizes: FloatArray = np.sqrt((np.asarray(affine, dtype=np.float64)[:3, :3] ** 2).sum(axis=0))
    return sizes


def check_affine(affine: FloatArray) -> None:
    """Raise ImageError unless a voxel-to-world matrix is finite, (4, 4) and invertible."""
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ImageError("The image's voxel-to-world matrix (qform/sform) is not usable: fix the header.")


def crop_grid(mask: Volume, spacing: float, margin: float = 10.0) -> tuple[FloatArray, tuple[int, int, int]]:
    """Axis-aligned isotropic RAS grid (affine, shape) around a mask, with a margin in mm.

    Raises
    ------
    RegistrationError
        If the mask is empty.
    """
    indices = np.argwhere(mask.data)
    if len(indices) == 0:
        raise RegistrationError("The brain mask is empty: nothing can be registered.")
    world = indices @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    low = np.floor(world.min(axis=0) - margin)
    extent = np.ceil((world.max(axis=0) + margin - low) / spacing).astype(int) + 1
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = low
    return affine, (int(extent[0]), int(extent[1]), int(extent[2]))


def regrid(volume: Volume, affine: FloatArray, shape: tuple[int, int, int], order: Literal[0, 1] = 1) -> Volume:
    """Sample a volume on another grid (0 outside), smoothed first along axes where the new grid is coarser."""
    from scipy import ndimage

    data: NDArray[np.float64] = np.asarray(volume.data, dtype=np.float64)
    new = voxel_sizes(affine).min()
    # Gaussian whose width makes up for the difference between the two samplings.
    sigma = np.sqrt(np.maximum(new**2 - volume.voxel_sizes**2, 0) / (8 * np.log(2))) / volume.voxel_sizes
    if order > 0 and (sigma > 0).any():
        data = ndimage.gaussian_filter(data, sigma)
    matrix = np.linalg.inv(volume.affine) @ affine
    sampled = ndimage.affine_transform(data, matrix[:3, :3], matrix[:3, 3], output_shape=shape, order=order)
    return Volume(sampled.astype(np.float32), affine)


def mask_centre(mask: Volume) -> FloatArray:
    """Centre of mass of a mask in world mm, (3,)."""
    indices = np.argwhere(mask.data)
    return np.asarray(indices.mean(axis=0) @ mask.affine[:3, :3].T + mask.affine[:3, 3], dtype=np.float64)


def template_volume(name: TemplateName) -> Volume:
    """Read an image of the packaged template, scaled as its header says."""
    import nibabel

    image: Any = nibabel.load(template(name))
    return Volume(image.get_fdata(dtype=np.float32), image.affine)


def template_brain(shape: tuple[int, int, int], affine: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Bring the template's brain mask onto a grid: voxels of which at least half is brain.

    Parameters
    ----------
    shape, affine
        The grid, (X, Y, Z), and its voxels to RAS mm (4, 4).

    Returns
    -------
    numpy.ndarray
        Shape (X, Y, Z), bool.
    """
    brain: NDArray[np.bool_] = regrid(template_volume("mask"), affine, shape).data >= 0.5
    return brain
