"""Volumes at the start of a run that were taken before the magnetisation settled."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from migxai.errors import ImageError

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
