"""Between `Volume` and the engines' images, and grids that suit an engine."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from migxai.errors import RegistrationError
from migxai.registration.transforms import LPS, Field
from migxai.registration.volume import FloatArray, Volume, voxel_sizes


def to_itk(volume: Volume) -> Any:
    """Return a SimpleITK float32 image of a volume (whose affine must have no shear)."""
    import SimpleITK

    image: Any = SimpleITK.GetImageFromArray(np.ascontiguousarray(volume.data.astype(np.float32).T))
    lps = LPS @ volume.affine
    sizes = voxel_sizes(volume.affine)
    image.SetSpacing(sizes.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / sizes).ravel().tolist())
    return image


def from_itk_field(image: Any) -> Field:
    """Return the displacement field held by a SimpleITK vector image (LPS mm)."""
    import SimpleITK

    vectors = np.moveaxis(SimpleITK.GetArrayFromImage(image), (0, 1, 2), (2, 1, 0)) * np.array([-1.0, -1.0, 1.0])
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return Field(vectors.astype(np.float32), LPS @ affine)


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
