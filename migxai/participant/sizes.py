"""How large the runs of a subject are, from the images' headers alone: what memory and time depend on."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel as nib


def run_sizes(root: Path, label: str, task: str | None = None) -> list[int]:
    """Return voxels times volumes of each BOLD run of a subject, without indexing the dataset.

    Parameters
    ----------
    root
        A dataset, raw or fMRIPrep's; of the latter only series in a template space count.
    label
        The subject, without ``sub-``.
    task
        Only runs of this task (default: of any).

    Returns
    -------
    list of int
        Runs whose header can't be read are left out: they fail by themselves, with their own sentence.
    """
    sizes = []
    for folder in (root / f"sub-{label}", *sorted((root / f"sub-{label}").glob("ses-*"))):
        for file in sorted((folder / "func").glob("*_bold.nii*")):
            wanted = task is None or f"_task-{task}_" in file.name
            # Of one run fMRIPrep writes a series for each space.
            if wanted and ("_space-" not in file.name or "_space-MNI" in file.name):
                shape = image_shape(file)
                if shape:
                    sizes.append(math.prod(shape))
    return sizes


def image_shape(file: Path) -> tuple[int, ...]:
    """Return the shape of an image, empty if its header can't be read: whoever reads the image will tell."""
    try:
        return tuple(int(length) for length in nib.nifti1.load(file).shape)
    except (OSError, nib.filebasedimages.ImageFileError):
        return ()
