"""The packaged template, as it is and on another grid."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from migxai.data import template
from migxai.data.templates import TemplateName
from migxai.registration.images import regrid
from migxai.registration.volume import Volume


def template_volume(name: TemplateName) -> Volume:
    """Read an image of the packaged template, scaled as its header says."""
    image = nib.nifti1.load(template(name))
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
