"""What a subject and its steps need of memory and time, from the size of their series.

Measured on a T1w of 274 x 384 x 384 and series of 80 x 80 x 35 x 156 and 312, and 160 x 160 x 35 x 156; after fMRIPrep
on 97 x 115 x 97 x 156 (two cores, AMD Zen 4). See docs/clusters.md for the figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: GB of a process before it reads anything, and for each voxel of each volume: a series is held a few times over.
BASE_GB, GB_A_VALUE = 0.5, 14e-9
#: GB that a whole subject keeps in one process, likewise, and the least it needs with a T1w image.
SUBJECT_BASE_GB, SUBJECT_GB_A_VALUE, ANATOMY_GB = 1.1, 10e-9, 2.1
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


def series_gb(size: int, copies: float = 1.0) -> float:
    """Estimate the memory of a step that works on a series, in GB, to a tenth.

    Parameters
    ----------
    size
        Voxels times volumes.
    copies
        How much of the most hungry step's memory a value it needs.
    """
    return math.ceil(10 * (BASE_GB + copies * GB_A_VALUE * size)) / 10
