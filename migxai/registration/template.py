"""The packaged template on another grid."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from migxai.data import template
from migxai.registration.images import regrid
from migxai.registration.volume import Volume


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
    image = nib.nifti1.load(template("mask"))
    mask = Volume(image.get_fdata(dtype=np.float32), image.affine)
    brain: NDArray[np.bool_] = regrid(mask, affine, shape).data >= 0.5
    return brain
