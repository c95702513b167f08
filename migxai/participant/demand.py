"""What a subject and its steps need of memory and time, from the size of their series.

Measured on a T1w of 274 x 384 x 384 and series of 80 x 80 x 35 x 156 and 160 x 160 x 35 x 156; after fMRIPrep
on 97 x 115 x 97 x 156 (two cores, AMD Zen 4). See docs/clusters.md for the figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: GB of a step's process before it reads anything, and bytes for each voxel of each volume: of the acquired series,
#: and then of the one in template space, whose grid has so many voxels at 3 mm.
ACQUIRED = {"prepare": (0.3, 5), "realign": (0.5, 11), "resample": (0.3, 8)}
TEMPLATE = {"confounds": (0.3, 2), "denoise": (0.3, 2), "indicators": (0.3, 4), "write": (0.3, 4), "draw": (0.3, 6)}
TEMPLATE_VOXELS, TEMPLATE_MM = 272_000, 3.0
#: GB of the steps that know no series.
EXTRACT_GB, NORMALISE_GB, WRITE_ANATOMY_GB, COREGISTER_GB, AVERAGE_GB = 2.0, 1.2, 1.0, 1.2, 0.3
#: GB that a whole subject keeps in one process, likewise, and the least it needs with a T1w image.
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


def subject_demand(sizes: Sequence[int], *, after_fmriprep: bool) -> Demand:
    """Estimate what one subject needs, one run after the other in one process.

    Parameters
    ----------
    sizes
        Voxels times volumes of each run.
    after_fmriprep
        Whether the runs are fMRIPrep's, so that no T1w image is processed.

    Returns
    -------
    Demand
    """
    largest, total = max(sizes, default=0), sum(sizes)
    if after_fmriprep:
        return Demand(
            FMRIPREP_BASE_GB + FMRIPREP_GB_A_VALUE * largest, FMRIPREP_SECONDS + FMRIPREP_SECONDS_A_VALUE * total
        )
    memory = max(ANATOMY_GB, SUBJECT_BASE_GB + SUBJECT_GB_A_VALUE * largest)
    return Demand(memory, ANATOMY_SECONDS + SECONDS_A_VALUE * total)


def most(demands: Sequence[Demand]) -> Demand:
    """Return what is enough for each of several subjects."""
    return Demand(max(item.memory_gb for item in demands), max(item.seconds for item in demands))


def step_gb(step: str, shape: Sequence[int], resolution: float | None) -> float:
    """Estimate the memory of a step that works on a series, in GB, rounded up to a tenth.

    Parameters
    ----------
    step
        A key of `ACQUIRED` or `TEMPLATE`.
    shape
        Of the acquired series (or fMRIPrep's); empty if unknown.
    resolution
        Voxels in template space, in mm; None for those of the series.
    """
    if step in ACQUIRED:
        (base, each), values = ACQUIRED[step], float(math.prod(shape) if shape else 0)
    else:
        grid = TEMPLATE_VOXELS * (TEMPLATE_MM / resolution) ** 3 if resolution else math.prod(shape[:3])
        (base, each), values = TEMPLATE[step], grid * (shape[3] if len(shape) == 4 else 1)
    return math.ceil(10 * (base + each * values / 1e9)) / 10
