"""Tests of a difference between two models on the same subjects, and the correction of several of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from migxai.errors import InputError, UsageError
from migxai.metrics.intervals import delong_covariance
from migxai.metrics.types import FloatArray, IntArray

Array = NDArray[np.float64]


class PairedTest(NamedTuple):
    """A two-sided test of a difference between two models (first minus second), with its 95 % interval.

    The degrees of freedom are infinite for a normal statistic; all are NaN where the test has nothing to work on.
    """

    difference: float
    low: float
    high: float
    statistic: float
    df: float
    p: float


def delong_test(y: IntArray, first: FloatArray, second: FloatArray, level: float = 0.95) -> PairedTest:
    """Compare the areas under the ROC curves of two scores (n,) of the same subjects, each once; y is 1 for patients.

    z is the difference divided by its standard error from `delong_covariance`, under a standard normal. Equal areas
    with no variance of their difference (equal rankings) give z = 0 and p = 1; other areas with none give NaN.
    InputError for fewer than two subjects of either class.
    """
    from scipy.stats import norm

    areas, covariance = delong_covariance(y, np.stack([first, second]))
    difference = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    # Rounding leaves about 1e-17 where the two scores rank alike.
    if variance < 1e-14:
        same = abs(difference) < 1e-12
        return PairedTest(difference, np.nan, np.nan, 0.0 if same else np.nan, np.inf, 1.0 if same else np.nan)
    error = float(np.sqrt(variance))
    half = float(norm.ppf((1 + level) / 2)) * error
    z = difference / error
    return PairedTest(difference, difference - half, difference + half, z, np.inf, float(2 * norm.sf(abs(z))))


def corrected_t_test(differences: FloatArray, ratio: float, level: float = 0.95) -> PairedTest:
    """Compare two models over the folds of (repeated) cross-validation, corrected for overlapping training sets.

    t = mean(d) / sqrt((1/J + n_test/n_train) var(d)) on J - 1 degrees of freedom, d being the differences of the scores
    in J = folds x trials test sets, shape (J,), n_test / n_train the `ratio`, and var the unbiased variance. Sources:
    Nadeau & Bengio 2003, doi:10.1023/A:1024068626366; Bouckaert & Frank 2004, doi:10.1007/978-3-540-24775-3_3 (over
    repeated k-fold cross-validation).

    If all differences are 0, t = 0 and p = 1; if they are constant but not 0, or fewer than two, both are NaN.
    UsageError for a ratio that is not positive, InputError for a difference that is not finite.
    """
    from scipy.stats import t as student

    if ratio <= 0:
        raise UsageError(f"The ratio of test to training subjects must be positive, not {ratio}.")
    d: Array = np.asarray(differences, dtype=np.float64)
    if not np.isfinite(d).all():
        raise InputError("A difference between two models' scores is not a finite number.")
    count = len(d)
    mean = float(d.mean()) if count else np.nan
    if count < 2 or np.ptp(d) < 1e-12:
        same = count > 1 and abs(mean) < 1e-12
        return PairedTest(mean, np.nan, np.nan, 0.0 if same else np.nan, count - 1, 1.0 if same else np.nan)
    error = float(np.sqrt((1 / count + ratio) * d.var(ddof=1)))
    half = float(student.ppf((1 + level) / 2, count - 1)) * error
    t = mean / error
    return PairedTest(mean, mean - half, mean + half, t, count - 1, float(2 * student.sf(abs(t), count - 1)))


def holm(p: FloatArray | Sequence[float]) -> Array:
    """Adjust p values (m,) by Holm's step-down method; NaN stay NaN and do not count.

    The i-th smallest is multiplied by m - i + 1, made monotone, and cut at 1. It bounds the chance of any false
    rejection, under any dependence. Source: Holm 1979, Scand J Stat 6:65-70.
    """
    values: Array = np.asarray(p, dtype=np.float64)
    adjusted = values.copy()
    tested = np.flatnonzero(np.isfinite(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
