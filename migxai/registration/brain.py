"""Brain extraction from a T1w image by deepbet (Fisch et al., Human Brain Mapping 2024), the one user of torch here."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from migxai.errors import ImageError, MissingDependencyError
from migxai.registration.volume import Volume

#: A constant, since how torch divides its sums among threads may move a probability across the threshold.
_TORCH_THREADS = 2
#: Litres: no brain is larger and no head, even without a face, smaller.
_LARGEST_BRAIN = 2.3
_PLAUSIBLE_BRAIN = (0.5, _LARGEST_BRAIN)


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
    mask = _filled(_foreground(t1w)) if given else _deepbet(t1w)
    litres = mask.sum() * np.prod(t1w.voxel_sizes) / 1e6
    if not _PLAUSIBLE_BRAIN[0] <= litres <= _PLAUSIBLE_BRAIN[1]:
        advice = "use --skull-strip-t1w force" if given else "look at the image, or strip it yourself"
        raise ImageError(f"No brain was found in the T1w image: the mask holds {litres:.2f} litres; {advice}.")
    return Extraction(t1w.with_data(mask), "given" if given else "deepbet")


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    return np.asarray(ndimage.binary_fill_holes(mask), dtype=bool)


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
