"""Masks: the brain in an EPI and in a T1w image, tissue compartments in the target space, and the target grid itself.

The T1w image's brain is extracted by deepbet (Fisch et al. 2024), the one user of torch here.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from migxai.errors import DenoisingError, ImageError, MissingDependencyError
from migxai.registration.resample import resample_to_grid
from migxai.registration.space import FloatArray, Volume, check_affine, voxel_sizes

#: Fewer voxels than this give a mean that is one voxel's noise.
MIN_TISSUE_VOXELS = 20
#: Volume of a plausible brain in an EPI, litres; beyond it the mask is taken for a failure.
BRAIN_LITRES = (0.3, 2.6)
#: A constant, since how torch divides its sums among threads may move a probability across the threshold.
_TORCH_THREADS = 2
#: Litres: no brain is larger and no head, even without a face, smaller.
_LARGEST_BRAIN = 2.3
_PLAUSIBLE_BRAIN = (0.5, _LARGEST_BRAIN)


def template_grid(
    affine: NDArray[Any], shape: tuple[int, int, int], resolution: float
) -> tuple[FloatArray, tuple[int, int, int]]:
    """Grid with a template's field of view at another resolution, isotropic.

    As in TemplateFlow's ``res-`` grids the first voxel's *centre* stays where it is and the last one's centre lies at
    or before the old last centre: MNI152NLin2009cAsym at 2 mm, 97x115x97 from (-96, -132, -78), becomes 65x77x65 from
    the same corner at 3 mm.

    Parameters
    ----------
    affine, shape
        The template's grid.
    resolution
        Voxel edge wanted, mm.

    Returns
    -------
    affine, shape
    """
    affine = np.asarray(affine, dtype=np.float64)
    check_affine(affine)
    sizes = voxel_sizes(affine)
    new = affine.copy()
    new[:3, :3] = affine[:3, :3] / sizes * resolution
    counts = np.floor((np.array(shape) - 1) * sizes / resolution + 1e-6).astype(int) + 1
    return new, (int(counts[0]), int(counts[1]), int(counts[2]))


def epi_brain_mask(mean: Volume) -> Volume:
    """Find the brain in a mean EPI: threshold between background and head, then morphology.

    The threshold is Otsu's on the image after its slow intensity changes are divided out (surface coils); opening cuts
    the bridges to scalp and eyes, the largest piece is kept, closed and filled.

    Parameters
    ----------
    mean
        Mean of a realigned EPI series.

    Returns
    -------
    Volume
        Boolean mask on the same grid.

    Raises
    ------
    ImageError
        If no brain-sized piece is found.
    """
    image = np.nan_to_num(np.asarray(mean.data, dtype=np.float64))
    sizes = mean.voxel_sizes
    smooth = ndimage.gaussian_filter(image, 2.0 / sizes)
    head = smooth > _otsu(smooth)
    # Mean intensity of the head around each voxel; 30 mm is broad enough to leave tissue contrast alone.
    weight = ndimage.gaussian_filter(head.astype(np.float64), 30.0 / sizes)
    field = ndimage.gaussian_filter(np.where(head, smooth, 0.0), 30.0 / sizes) / np.maximum(weight, 1e-3)
    flat = np.where(field > 0, smooth / np.maximum(field, 1e-3 * max(field.max(), 1e-12)), 0.0)
    mask = flat > 0.9 * _otsu(np.clip(flat, 0, 2))
    mask = _largest(ndimage.binary_opening(mask, _ball(5.0, sizes)))
    mask = _closed(mask, 8.0, sizes)
    mask = _largest(ndimage.binary_opening(_fill(mask), _ball(8.0, sizes)))
    litres = mask.sum() * np.prod(sizes) / 1e6
    if not BRAIN_LITRES[0] < litres < BRAIN_LITRES[1]:
        raise ImageError(f"No brain was found in the EPI: the automatic mask holds {litres:.2f} litres.")
    return mean.with_data(mask)


def _otsu(values: FloatArray) -> float:
    """Threshold that maximises the variance between two classes (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=256, range=(float(values.min()), float(np.percentile(values, 99.5))))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * centres)
    means_apart = total / np.maximum(below, 1) - (total[-1] - total) / np.maximum(above, 1)
    return float(centres[int(np.argmax(below * above * means_apart**2))])


def _ball(radius: float, sizes: FloatArray) -> NDArray[np.bool_]:
    """Structuring element of a radius in mm."""
    reach = np.maximum(np.floor(radius / sizes).astype(int), 1)
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1) * sizes
    ball: NDArray[np.bool_] = (grid**2).sum(axis=-1) <= max(radius, float(sizes.max())) ** 2 + 1e-6
    return ball


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labelled, count = ndimage.label(mask)
    if count == 0:
        return mask
    return np.asarray(labelled == 1 + int(np.argmax(np.bincount(labelled.ravel())[1:])))


def _closed(mask: NDArray[np.bool_], radius: float, sizes: FloatArray) -> NDArray[np.bool_]:
    """Close gaps without losing the border of the grid."""
    pad = [(int(np.ceil(radius / size)) + 1,) * 2 for size in sizes]
    padded = ndimage.binary_closing(np.pad(mask, pad), _ball(radius, sizes))
    return np.asarray(padded[tuple(slice(before, -after) for before, after in pad)])


def _fill(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill holes in the volume and in each slice (ventricles may be open to the grid's edge)."""
    filled = ndimage.binary_fill_holes(mask)
    for index in range(mask.shape[2]):
        filled[:, :, index] = ndimage.binary_fill_holes(filled[:, :, index])
    return np.asarray(filled, dtype=bool)


def brain_mask_in_target(
    template_mask: Volume, target_affine: NDArray[Any], target_shape: tuple[int, int, int]
) -> NDArray[np.bool_]:
    """Put a template's brain mask on the target grid: voxels at least half filled by it."""
    values = resample_to_grid(
        template_mask.data.astype(np.float32),
        template_mask.affine,
        target_affine=target_affine,
        target_shape=target_shape,
    )
    mask: NDArray[np.bool_] = values >= 0.5
    return mask


def tissue_compartment(
    probability: Volume,
    mask: NDArray[np.bool_],
    mask_affine: NDArray[Any],
    *,
    name: str,
    threshold: float = 0.9,
    erosion: float = 2.0,
) -> NDArray[np.bool_]:
    """Select the mask's voxels that lie deep in one tissue.

    The prior, in the target's world, is thresholded and eroded on its own, finer grid; a target voxel belongs to the
    compartment when more than half of it does.

    Parameters
    ----------
    probability
        Tissue probability 0..1 in the target's world.
    mask, mask_affine
        The target's brain mask (X, Y, Z) and grid.
    name
        Such as ``"white matter"``, for the message.
    threshold
        Least probability.
    erosion
        Depth taken off, mm.

    Returns
    -------
    numpy.ndarray
        (V,) boolean over the mask's voxels in C order.

    Raises
    ------
    DenoisingError
        If fewer than `MIN_TISSUE_VOXELS` are left.
    """
    sure = np.asarray(probability.data, dtype=np.float32) >= threshold
    if erosion > 0:
        sure = ndimage.binary_erosion(sure, _ball(erosion, probability.voxel_sizes))
    shape = (int(mask.shape[0]), int(mask.shape[1]), int(mask.shape[2]))
    share = resample_to_grid(sure.astype(np.float32), probability.affine, target_affine=mask_affine, target_shape=shape)
    selected: NDArray[np.bool_] = share[mask.astype(bool)] > 0.5
    if selected.sum() < MIN_TISSUE_VOXELS:
        raise DenoisingError(
            f"Only {int(selected.sum())} voxels of {name} are left inside the brain mask, too few for a tissue signal; "
            "the field of view may miss them, or the registration be wrong: look at the report or turn the signal off."
        )
    return selected


@dataclass(frozen=True, eq=False)
class Extraction:
    """A brain mask, and how it came about: ``"deepbet"`` or ``"given"`` (the image was already skull-stripped)."""

    mask: Volume
    method: Literal["deepbet", "given"]


def is_skull_stripped(t1w: Volume) -> bool:
    """Whether an image holds a brain and nothing else.

    The head without its background is at least 3 litres, a brain at most 2.3; the background of a stripped image is one
    constant value.
    """
    inside = _foreground(t1w)
    litres = inside.sum() * np.prod(t1w.voxel_sizes) / 1e6
    return bool(litres < _LARGEST_BRAIN)


def _foreground(t1w: Volume) -> NDArray[np.bool_]:
    data = np.nan_to_num(np.asarray(t1w.data, dtype=np.float32))
    corners = data[:: max(data.shape[0] - 1, 1), :: max(data.shape[1] - 1, 1), :: max(data.shape[2] - 1, 1)]
    inside: NDArray[np.bool_] = data != np.median(corners)
    return inside


def extract_brain(t1w: Volume, mode: Literal["auto", "force", "skip"] = "auto") -> Extraction:
    """Find the brain in a T1w image.

    Parameters
    ----------
    t1w
        Image in any orientation.
    mode
        ``"force"`` always runs deepbet, ``"skip"`` takes everything that is not background as brain, ``"auto"`` runs
        it unless the image is already skull-stripped (`is_skull_stripped`).

    Returns
    -------
    Extraction
        Its mask is boolean, on the image's grid; the same image gives the same mask.

    Raises
    ------
    MissingDependencyError
        If deepbet or torch is not installed.
    ImageError
        If the mask is not the size of a brain.
    """
    given = mode == "skip" or (mode == "auto" and is_skull_stripped(t1w))
    mask = np.asarray(ndimage.binary_fill_holes(_foreground(t1w)), dtype=bool) if given else _deepbet(t1w)
    litres = mask.sum() * np.prod(t1w.voxel_sizes) / 1e6
    if not _PLAUSIBLE_BRAIN[0] <= litres <= _PLAUSIBLE_BRAIN[1]:
        advice = "use --skull-strip-t1w force" if given else "look at the image, or strip it yourself"
        raise ImageError(f"No brain was found in the T1w image: the mask holds {litres:.2f} litres; {advice}.")
    return Extraction(t1w.with_data(mask), "given" if given else "deepbet")


def _deepbet(t1w: Volume) -> NDArray[np.bool_]:
    """Run deepbet on the CPU; its weights come with it, and it is not told any file name."""
    try:
        import torch
        from deepbet.bet import BrainExtraction
    except ImportError as error:
        raise MissingDependencyError(
            f"Brain extraction needs torch and deepbet ({error.name} is missing): pip install 'migxai[torch]', give a "
            "skull-stripped T1w with --skull-strip-t1w skip, or normalise the EPI directly with --anat none."
        ) from error
    import nibabel

    image = nibabel.Nifti1Image(np.nan_to_num(np.asarray(t1w.data, dtype=np.float32)), t1w.affine)
    threads = torch.get_num_threads()
    torch.set_num_threads(_TORCH_THREADS)
    try:
        with warnings.catch_warnings():
            # deepbet loads its networks through torch.jit, which newer torch calls deprecated.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            _, mask, _ = BrainExtraction(no_gpu=True).run(image)
    finally:
        torch.set_num_threads(threads)
    return np.asarray(mask.dataobj) > 0
