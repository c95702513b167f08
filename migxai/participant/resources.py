"""What subjects and steps need of memory and time, from the size of their series.

Each step names its `Memory` beside its code. A whole subject was measured by itself, since its steps share a process.
Measured on a T1w of 274 x 384 x 384 and series of 80 x 80 x 35 x 156 and 160 x 160 x 35 x 156; after fMRIPrep
on 97 x 115 x 97 x 156 (two cores, AMD Zen 4). See docs/clusters.md for the figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib

from migxai.bids.fmriprep import is_fmriprep
from migxai.bids.inputs import choose_task, dataset_root
from migxai.bids.layout import check_dataset
from migxai.config import Config

#: Voxels of the packaged template's grid, at this many mm.
TEMPLATE_VOXELS, TEMPLATE_MM = 272_000, 3.0
#: GB that a whole subject keeps in one process, for each voxel of each volume, and the least it needs with a T1w image.
SUBJECT_BASE_GB, SUBJECT_GB_A_VALUE, ANATOMY_GB = 1.2, 10e-9, 2.4
#: The same after fMRIPrep, whose series are read a piece at a time.
FMRIPREP_BASE_GB, FMRIPREP_GB_A_VALUE = 0.5, 4e-9
#: Seconds on two cores: of a T1w image, and for each voxel of each volume.
ANATOMY_SECONDS, SECONDS_A_VALUE = 63.0, 1.15e-6
FMRIPREP_SECONDS, FMRIPREP_SECONDS_A_VALUE = 10.0, 0.12e-6


@dataclass(frozen=True)
class Demand:
    """Peak memory in GB, and seconds on two cores."""

    memory_gb: float
    seconds: float


@dataclass(frozen=True)
class Memory:
    """Memory of a step in a process of its own.

    Attributes
    ----------
    base_gb
        GB before it reads anything.
    bytes_a_value
        Bytes for each voxel of each volume of the series it works on; 0 if it knows none.
    in_template
        Whether that series is the one in template space, and not the one that was acquired.
    """

    base_gb: float
    bytes_a_value: float = 0.0
    in_template: bool = False

    def gb(self, shape: Sequence[int] = (), resolution: float | None = None) -> float:
        """Estimate the step's memory in GB, rounded up to a tenth.

        `shape` is that of the acquired (or fMRIPrep's) series, empty if unknown; `resolution` the voxels in template
        space in mm, None for those of the series.
        """
        values = float(math.prod(shape) if shape else 0)
        if self.in_template:
            grid = TEMPLATE_VOXELS * (TEMPLATE_MM / resolution) ** 3 if resolution else math.prod(shape[:3])
            values = grid * (shape[3] if len(shape) == 4 else 1)
        return math.ceil(10 * (self.base_gb + self.bytes_a_value * values / 1e9)) / 10


def estimate(config: Config, subjects: Sequence[str]) -> Demand | None:
    """Estimate what is enough for each of the subjects, from their images' headers; None if none could be read."""
    root = dataset_root(config)
    task, _ = choose_task(root, config.selection.task_id)
    after_fmriprep = is_fmriprep(check_dataset(root))
    sizes = [run_sizes(root, subject, task) for subject in subjects]
    demands = [subject_demand(item, after_fmriprep=after_fmriprep) for item in sizes if item]
    if not demands:
        return None
    return Demand(max(item.memory_gb for item in demands), max(item.seconds for item in demands))


def subject_demand(sizes: Sequence[int], *, after_fmriprep: bool) -> Demand:
    """Estimate what one subject needs whose runs, of so many values each, come one after the other in one process."""
    largest, total = max(sizes, default=0), sum(sizes)
    if after_fmriprep:
        return Demand(
            FMRIPREP_BASE_GB + FMRIPREP_GB_A_VALUE * largest, FMRIPREP_SECONDS + FMRIPREP_SECONDS_A_VALUE * total
        )
    memory = max(ANATOMY_GB, SUBJECT_BASE_GB + SUBJECT_GB_A_VALUE * largest)
    return Demand(memory, ANATOMY_SECONDS + SECONDS_A_VALUE * total)


def run_sizes(root: Path, label: str, task: str) -> list[int]:
    """Return voxels times volumes of each BOLD run of a subject's task, without indexing the dataset.

    Of fMRIPrep's only series in a template space count. Runs whose header can't be read are left out: they fail by
    themselves, with their own sentence.
    """
    sizes = []
    for folder in (root / f"sub-{label}", *sorted((root / f"sub-{label}").glob("ses-*"))):
        for file in sorted((folder / "func").glob("*_bold.nii*")):
            # Of one run fMRIPrep writes a series for each space.
            if f"_task-{task}_" in file.name and ("_space-" not in file.name or "_space-MNI" in file.name):
                sizes += [math.prod(shape)] if (shape := image_shape(file)) else []
    return sizes


def image_shape(file: Path) -> tuple[int, ...]:
    """Return the shape of an image, empty if its header can't be read: whoever reads the image will tell."""
    try:
        return tuple(int(length) for length in nib.nifti1.load(file).shape)
    except (OSError, nib.filebasedimages.ImageFileError):
        return ()
