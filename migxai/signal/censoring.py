"""Leaving out volumes in which the head moved."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migxai.errors import DenoisingError, UsageError
from migxai.signal._checks import BoolArray


def kept_volumes(
    displacement: ArrayLike, threshold: float, *, repetition_time: float, minimum_time: float | None = None
) -> BoolArray:
    """Mark the volumes whose framewise displacement stays within a threshold.

    Parameters
    ----------
    displacement
        Framewise displacement (T,) in mm; NaN, as in the first volume, counts as none.
    threshold
        Largest displacement kept, in mm.
    repetition_time
        Seconds between volumes.
    minimum_time
        Seconds that must remain.

    Returns
    -------
    array
        True for the volumes kept (T,).

    Raises
    ------
    UsageError
        If the threshold is not positive.
    DenoisingError
        If less than the minimum time remains.
    """
    if not threshold > 0:
        raise UsageError(f"A displacement threshold of {threshold:g} mm would keep nothing; it must be positive.")
    kept: BoolArray = ~(np.asarray(displacement, dtype=np.float64) > threshold)
    remaining = float(np.count_nonzero(kept) * repetition_time)
    if minimum_time is not None and remaining < minimum_time:
        raise DenoisingError(
            f"Only {remaining:g} s are left after leaving out volumes that moved more than {threshold:g} mm, and at "
            f"least {minimum_time:g} s are asked for."
        )
    return kept


def require_unbroken(kept: BoolArray, indicator: str) -> None:
    """Raise UsageError if volumes are left out: a spectrum needs evenly spaced samples."""
    missing = int(np.count_nonzero(~kept))
    if missing:
        raise UsageError(
            f"{indicator} needs an unbroken series, but {missing} volumes are left out for motion; turn "
            f"--fd-threshold off or do not ask for {indicator}."
        )


def interpolation_matrix(kept: BoolArray) -> NDArray[np.float64]:
    """Matrix (T, T) that fills the volumes left out: a cubic spline between those kept, the nearest one at the ends.

    Being linear, it treats data and nuisance columns alike, and gives each constant back.

    Raises
    ------
    DenoisingError
        If fewer than 4 volumes are kept.
    """
    from scipy.interpolate import CubicSpline

    places = np.flatnonzero(kept)
    if len(places) < 4:
        raise DenoisingError(f"Only {len(places)} volumes are left after leaving out those that moved.")
    matrix = np.zeros((len(kept), len(kept)))
    inner = np.arange(len(kept)).clip(places[0], places[-1])
    matrix[:, places] = CubicSpline(places, np.eye(len(places)))(inner)
    # The spline meets its knots up to rounding; a kept volume must pass through as it is.
    matrix[places] = np.eye(len(kept))[places]
    return matrix
