"""From one space to another: T1w to template, EPI to T1w, EPI to template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from migxai.registration.engines import Engine, Pair, Registration
from migxai.registration.quality import KEPT, Gate, Quality, likeness, measure_quality, require_quality
from migxai.registration.resample import resample_to_grid
from migxai.registration.space import Affine, Chain, Volume, as_field, crop_grid, mask_centre, regrid, rigid_matrix

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
    """Draw the template with the contrast and the resolution (3,) mm of an image, on the template's grid.

    It is 1 + w WM + c CSF inside the mask, tissues blurred to the resolution, with w and c from a robust linear fit of
    the image's intensity relative to its surroundings; 0 outside. `chain` maps template points to points of the image,
    as far as is known.
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


#: What real and simulated heads reach lies well above (see tests/registration/test_quality.py for what fails).
T1W_GATE = Gate(dice=0.85, similarity=0.05)
EPI_T1W_GATE = Gate(dice=0.75, similarity=0.02, nearby=0.95)
EPI_GATE = Gate(dice=0.80, similarity=0.03, nearby=0.95)

#: Brightest value of an image handed to an engine.
LEVEL = 1000.0
#: Heads lie differently in the scanner from session to session, mostly in pitch.
NOD_DEGREES = 8.0


@dataclass(frozen=True, eq=False)
class Normalisation:
    """A registration that passed its gate, with the figures it passed with."""

    registration: Registration
    quality: Quality


@dataclass(frozen=True, eq=False)
class Brain:
    """An image with the mask of its brain, both on one grid."""

    image: Volume
    mask: Volume

    def on(self, spacing: float) -> Brain:
        """Return the brain alone, background 0, on an axis-aligned isotropic grid cut to it."""
        affine, shape = crop_grid(self.mask, spacing)
        inside = self.mask.data.astype(bool)
        brain = regrid(self.image.with_data(np.where(inside, self.image.data, 0)), affine, shape)
        mask = regrid(self.mask.with_data(inside.astype(np.float32)), affine, shape)
        return Brain(_levelled(brain, mask), mask.with_data(mask.data > 0.5))


def _levelled(brain: Volume, mask: Volume) -> Volume:
    """Cut off the brightest and darkest half per cent inside the mask, and scale to 0..1000."""
    values = brain.data[mask.data > 0.5]
    low, high = np.percentile(values, [0.5, 99.5]) if values.size else (0.0, 1.0)
    low = min(0.0, float(low))
    scaled = (brain.data - low) / max(float(high) - low, float(np.finfo(np.float32).tiny)) * LEVEL
    return brain.with_data(np.clip(scaled, 0, LEVEL).astype(np.float32))


def t1w_to_template(t1w: Brain, template: Brain, engine: Engine) -> Normalisation:
    """Normalise a T1w brain: affine, then diffeomorphic, both by local correlation.

    Parameters
    ----------
    t1w, template
        Images with their brain masks; what lies outside the masks is not used.
    engine
        See `engines.find_engine`.

    Returns
    -------
    Normalisation
        ``registration.forward`` carries the T1w to the template (maps template points to T1w points).

    Raises
    ------
    RegistrationError
        If the result does not pass `T1W_GATE`.
    """
    moving, fixed = t1w.on(1.0), _brain_only(template)
    start = _centres(moving, fixed)
    pair = Pair(moving.image, fixed.image)
    affine = engine.affine(pair, start=start, metric="NCC")
    found = engine.deformable(pair, start=affine)
    return _judged(found, moving, fixed, start, T1W_GATE, "T1w to template")


def epi_to_t1w(epi: Brain, t1w: Brain, engine: Engine) -> Normalisation:
    """Align an EPI with the same head's T1w: six degrees of freedom, mutual information, then local correlation.

    In a T2*-weighted EPI fluid is bright and white matter dark, so locally it correlates negatively with the T1w image
    (Saad et al. 2009, doi:10.1016/j.neuroimage.2008.09.037). That is far sharper than mutual information but leads
    nowhere from afar, so it refines what mutual information has found, and is kept if it does not harm the latter.

    Parameters
    ----------
    epi, t1w
        Images with their brain masks.
    engine
        See `engines.find_engine`.

    Returns
    -------
    Normalisation
        ``registration.forward`` carries the EPI to the T1w (maps T1w points to EPI points); both chains hold one
        `Affine`.

    Raises
    ------
    RegistrationError
        If the result does not pass `EPI_T1W_GATE`.
    """
    moving, fixed = epi.on(2.0), t1w.on(2.0)

    def alike(matrix: Affine) -> float:
        return likeness(Chain((matrix,)), moving.image, moving.mask, fixed.image, fixed.mask)

    # Mutual information of a masked brain has many local maxima, and only the end tells which start was right.
    # Coarser grids, quick as they are, end in maxima of their own that the finer one does not leave.
    pair = Pair(moving.image, fixed.image)
    matrix = max((engine.rigid(pair, start=start, metric="NMI") for start in _starts(moving, fixed)), key=alike)
    inverted = fixed.image.with_data(np.where(fixed.mask.data, LEVEL - fixed.image.data, 0).astype(np.float32))
    refined = engine.rigid(Pair(moving.image, inverted), start=matrix, metric="NCC")
    if alike(refined) >= KEPT * alike(matrix):
        matrix = refined
    found = Registration(Chain((matrix,)), Chain((matrix.inverse(),)))
    return _judged(found, moving, fixed, _centres(moving, fixed), EPI_T1W_GATE, "EPI to T1w")


def epi_to_template(epi: Brain, template: Brain, tissues: Tissues, engine: Engine) -> Normalisation:
    """Normalise an EPI without a T1w: affine to an EPI template, then diffeomorphic to that brain as this EPI shows it.

    Parameters
    ----------
    epi, template
        Images with their brain masks. The template must be an EPI: a T1w template misleads silently.
    tissues
        Of the template, on its grid.
    engine
        See `engines.find_engine`.

    Returns
    -------
    Normalisation
        ``registration.forward`` carries the EPI to the template (maps template points to EPI points).

    Raises
    ------
    RegistrationError
        If the result does not pass `EPI_GATE`.
    """
    moving, fixed = epi.on(2.0), _brain_only(template)
    start = _centres(moving, fixed)
    pair = Pair(moving.image, fixed.image, _covered(epi.image, moving.image))
    affine = engine.affine(pair, start=start, metric="NCC")
    # The contrast can be read once the affine fits; reading it again from the result changes nothing (0.01 mm).
    seen = template_as_seen(moving.image, moving.mask, Chain((affine,)), tissues, epi.image.voxel_sizes)
    pair = Pair(moving.image, _levelled(seen, fixed.mask), pair.covered)
    found = engine.deformable(pair, start=affine, smoothness=2.0)
    return _judged(found, moving, fixed, start, EPI_GATE, "EPI to template")


def compact(registration: Registration, fixed: Volume, moving_mask: Volume, spacing: float = 2.0) -> Registration:
    """Compose each direction into one displacement field, as it is saved.

    The forward field lies on the fixed grid; the inverse one on an isotropic grid around the moving brain.
    """
    grid = crop_grid(moving_mask, spacing, margin=20.0)
    return Registration(
        Chain((as_field(registration.forward, fixed.affine, fixed.shape),)),
        Chain((as_field(registration.inverse, *grid),)),
    )


def _covered(acquired: Volume, grid: Volume) -> Volume:
    """Where a grid lies inside the acquired field of view: a brain that is cut off must not be stretched to fit."""
    everywhere = acquired.with_data(np.ones(acquired.shape, dtype=np.float32))
    return regrid(everywhere, grid.affine, grid.shape, order=0)


def _brain_only(template: Brain) -> Brain:
    inside = template.mask.data.astype(bool)
    brain = template.image.with_data(np.where(inside, template.image.data, 0).astype(np.float32))
    return Brain(_levelled(brain, template.mask), template.mask.with_data(inside))


def _centres(moving: Brain, fixed: Brain) -> Affine:
    """Shift the centre of one brain to that of the other; orientation is taken from the headers."""
    matrix = np.eye(4)
    matrix[:3, 3] = mask_centre(moving.mask) - mask_centre(fixed.mask)
    return Affine(matrix)


def _starts(moving: Brain, fixed: Brain) -> list[Affine]:
    """Headers as they are, and centres together with the head as it is, nodding forwards and backwards."""
    starts = [Affine(np.eye(4))]
    centre = mask_centre(fixed.mask)
    for degrees in (0.0, -NOD_DEGREES, NOD_DEGREES):
        nod = rigid_matrix(np.array([0.0, 0.0, 0.0, np.radians(degrees), 0.0, 0.0]))
        nod[:3, 3] += mask_centre(moving.mask) - nod[:3, :3] @ centre
        starts.append(Affine(nod))
    return starts


def _judged(found: Registration, moving: Brain, fixed: Brain, start: Affine, gate: Gate, what: str) -> Normalisation:
    seen = measure_quality(
        moving.image, moving.mask, fixed.image, fixed.mask, result=found.forward, start=Chain((start,))
    )
    require_quality(seen, gate, what)
    return Normalisation(found, seen)
