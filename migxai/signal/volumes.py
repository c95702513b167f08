"""Which volumes of a run count: those after the magnetisation has settled, and those in which the head kept still."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migxai.errors import DenoisingError, ImageError, UsageError
from migxai.signal.voxels import BoolArray

#: Modified z-score that counts as an outlier (Iglewicz & Hoaglin 1993).
_LIMIT = 3.5

#: Scales a median absolute deviation to a standard deviation of normal noise.
_MAD = 1.4826


def count_non_steady_volumes(signal: ArrayLike, *, longest: int = 15) -> int:
    """Count the leading volumes whose mean intensity lies above what the rest of the run's start leads one to expect.

    The level and slow drift expected come from the median and Theil-Sen slope of the 35 volumes after the first
    `longest`; counting stops at the first volume within 3.5 robust standard deviations.

    Parameters
    ----------
    signal
        Mean intensity of each volume (T,), over the brain or the whole image.
    longest
        Volumes looked at; magnetisation settles well before 15 volumes of 2 s.

    Returns
    -------
    int
        Number of volumes to drop, 0 to `longest`.

    Raises
    ------
    ImageError
        If the signal has fewer than ``longest + 5`` volumes or holds NaN.

    Examples
    --------
    >>> level = 1000 + np.tile([-1.0, 1.0, 0.0], 20)
    >>> level[:2] += [300, 40]
    >>> count_non_steady_volumes(level)
    2
    """
    from scipy.stats import theilslopes

    level = np.asarray(signal, dtype=np.float64)
    if level.ndim != 1 or len(level) < longest + 5 or not np.isfinite(level).all():
        raise ImageError(
            f"Finding the steady state needs the finite mean intensity of at least {longest + 5} volumes, not an array "
            f"of shape {level.shape}."
        )
    times = np.arange(longest, min(longest + 35, len(level)))
    slope, intercept, _, _ = theilslopes(level[times], times)
    excess = level - (intercept + slope * np.arange(len(level)))
    # Without noise, as in a phantom, rounding must not look like an outlier.
    spread = max(_MAD * float(np.median(np.abs(excess[times]))), 1e-6 * float(np.abs(level).max()))
    settled = np.flatnonzero(excess[:longest] <= _LIMIT * spread)
    return int(settled[0]) if len(settled) else longest


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
