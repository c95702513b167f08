"""Fill gaps and bring columns to one scale, by what the training subjects say alone."""

from __future__ import annotations

import numpy as np

from migxai.metrics.types import FloatArray

#: A standard deviation below this share of the mean is the rounding error of a constant column.
_CONSTANT = 1e-10


def column_means(values: FloatArray) -> FloatArray:
    """Return the mean of each column's numbers, to fill its gaps with.

    Parameters
    ----------
    values
        Training subjects (n, P); NaN where unknown.

    Returns
    -------
    numpy.ndarray
        (P,); 0 for a column without any number.
    """
    known = ~np.isnan(values)
    sums, counts = np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0)
    means: FloatArray = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    return means


def filled(values: FloatArray, means: FloatArray) -> FloatArray:
    """Replace NaN in (n, P) by the column's mean (P,)."""
    return np.where(np.isnan(values), means, values)


def column_scales(values: FloatArray, means: FloatArray) -> FloatArray:
    """Return the standard deviation of each column once its gaps are filled.

    Parameters
    ----------
    values
        Training subjects (n, P); NaN where unknown.
    means
        Their `column_means` (P,).

    Returns
    -------
    numpy.ndarray
        (P,), with divisor n; 0 for a column that is constant, which `standardised` drops.
    """
    complete = filled(values, means)
    scales = complete.std(axis=0)
    return np.where(scales > _CONSTANT * np.abs(means), scales, 0.0)


def standardised(values: FloatArray, means: FloatArray, scales: FloatArray) -> FloatArray:
    """Fill gaps, subtract means and divide by scales; a column whose scale is 0 becomes 0 for everybody.

    Parameters
    ----------
    values
        Any subjects (n, P).
    means, scales
        `column_means` and `column_scales` of the training subjects (P,).

    Returns
    -------
    numpy.ndarray
        (n, P), finite.
    """
    centred = filled(values, means) - means
    return np.divide(centred, scales, out=np.zeros_like(centred), where=scales > 0)
