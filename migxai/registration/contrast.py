"""A picture of the template as a given EPI would show it, for registering that EPI without a T1w.

Where fluid, grey and white matter differ in an EPI depends on field strength, echo time and coil, so local correlation
with any one EPI template is partly about contrast rather than about place. Here the template's own tissues are given
the contrast that the EPI has, as far as the present registration shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from migxai.registration.resample import resample_to_grid
from migxai.registration.transforms import Chain
from migxai.registration.volume import Volume

Array = NDArray[np.floating[Any]]

#: Slow changes of intensity (coils, and what registration has not matched yet) are divided out at this scale, mm FWHM.
LOCAL_FWHM = 35.0
#: Residuals beyond so many robust standard deviations are left out of the fit: vessels, eyes, signal loss.
OUTLYING = 3.0
ROUNDS = 5


@dataclass(frozen=True, eq=False)
class Tissues:
    """Probabilities of white matter and fluid, 0 to 1, and the brain mask of a template, all on one grid."""

    white: Volume
    fluid: Volume
    mask: Volume


def template_as_seen(image: Volume, brain: Volume, chain: Chain, tissues: Tissues, resolution: Array) -> Volume:
    """Draw the template with the contrast and the resolution of an image.

    Parameters
    ----------
    image, brain
        The image and its brain mask, on one grid.
    chain
        Maps template points to points of the image, as far as is known.
    tissues
        Of the template.
    resolution
        Voxel sizes that the image was acquired with, (3,) mm.

    Returns
    -------
    Volume
        On the template's grid: 1 + w WM + c CSF inside the mask, tissues blurred to the resolution, with w and c from a
        robust linear fit of the image's intensity relative to its surroundings; 0 outside.
    """
    inside = tissues.mask.data.astype(bool)
    seen = _on_template(image, tissues.mask, chain)
    known = inside & (_on_template(brain, tissues.mask, chain) > 0.5)
    blur = resolution / np.sqrt(8 * np.log(2)) / tissues.mask.voxel_sizes
    white, fluid = (ndimage.gaussian_filter(tissue.data, blur) for tissue in (tissues.white, tissues.fluid))
    width = LOCAL_FWHM / np.sqrt(8 * np.log(2)) / tissues.mask.voxel_sizes
    weight = np.maximum(ndimage.gaussian_filter(known.astype(np.float32), width), 1e-3)

    def around(values: Array) -> Array:
        mean: Array = ndimage.gaussian_filter(np.where(known, values, 0), width) / weight
        return mean

    relative = seen / np.maximum(around(seen), 1e-3) - 1
    core = ndimage.binary_erosion(known, iterations=2)
    design = np.column_stack([(tissue - around(tissue))[core] for tissue in (white, fluid)])
    contrast = _robust_fit(design, relative[core])
    drawn = np.where(inside, 1 + contrast[0] * white + contrast[1] * fluid, 0)
    return tissues.mask.with_data(drawn.astype(np.float32))


def _on_template(image: Volume, template: Volume, chain: Chain) -> NDArray[np.float32]:
    return resample_to_grid(
        image.data.astype(np.float32),
        image.affine,
        target_affine=template.affine,
        target_shape=template.shape,
        chain=chain,
    )


def _robust_fit(design: Array, values: Array) -> Array:
    """Least squares without the rows that lie far off, (N, P) and (N,) to (P,)."""
    used = np.ones(len(values), dtype=bool)
    found: Array = np.zeros(design.shape[1])
    for _ in range(ROUNDS):
        found = np.linalg.lstsq(design[used], values[used], rcond=None)[0]
        residuals = np.abs(values - design @ found)
        used = residuals < OUTLYING * 1.4826 * np.median(residuals) + 1e-12
    return found
