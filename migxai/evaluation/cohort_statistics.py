"""What the groups of a cohort are like, and whether they differ: the numbers of a clinical paper's first table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from migxai.errors import InputError
from migxai.metrics.inference import holm

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

#: Columns of a table of participants that say who somebody is, not what they are like.
IDENTIFIERS = ("participant_id", "subject", "dataset", "session", "session_id")
#: A category with more values than this is an identifier or free text, and is not tested.
MOST_LEVELS = 20
#: Expected counts under which the chi-square distribution is not trusted (Cochran 1954, doi:10.2307/3001616).
LEAST_EXPECTED = 5
#: Random tables behind the exact test of tables larger than 2 x 2.
RANDOM_TABLES = 99_999


@dataclass(frozen=True)
class GroupTest:
    """A test of no difference between groups; numbers are NaN where the test has none.

    The name is empty where no test was possible, and the note says why; else it says what a reader must know besides.
    """

    name: str = ""
    statistic: float = np.nan
    df: float = np.nan
    p: float = np.nan
    effect_name: str = ""
    effect: float = np.nan
    note: str = ""


@dataclass(frozen=True)
class Variable:
    """One characteristic, described by group: people with and without a value, and the test of a difference.

    `quartiles` are the first, the median and the third by group (linear interpolation), empty for a category; `counts`
    are people by level and group, empty for a number. `p_adjusted` is corrected by Holm's method for the number of
    variables tested.
    """

    name: str
    kind: Literal["continuous", "categorical"]
    n: Mapping[str, int]
    missing: Mapping[str, int]
    quartiles: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    test: GroupTest = field(default_factory=GroupTest)
    p_adjusted: float = np.nan


def describe_cohort(
    participants: pd.DataFrame, group_column: str, *, groups: Sequence[str] = (), seed: int = 0
) -> list[Variable]:
    """Describe each column but the group and `IDENTIFIERS` by group, and test it for a difference.

    Numbers: median and quartiles, Kruskal-Wallis test, epsilon-squared. Categories (text, truth values, and numbers
    with at most two different values): counts, chi-square test, or Fisher's where an expected count is under 5, and
    bias-corrected Cramer's V.

    People without a group are left out. `groups` are in order; by default all there are, sorted. The seed is that of
    the random tables of Fisher's test beyond 2 x 2. InputError if fewer than two groups have anybody, or there is no
    such column.
    """
    if group_column not in participants.columns:
        raise InputError(f"The table of participants has no column {group_column!r}.")
    labels = participants[group_column]
    table = participants.assign(**{group_column: labels.astype(str)})[labels.notna()]
    names = list(groups) or sorted(table[group_column].unique())
    people = {name: table[table[group_column] == name] for name in names}
    if sum(len(rows) > 0 for rows in people.values()) < 2:
        raise InputError(f"Statistics of a cohort need people in two groups of {group_column!r}; there is one at most.")
    described = [
        _describe({group: rows[name] for group, rows in people.items()}, name, seed)
        for name in table.columns
        if name not in (group_column, *IDENTIFIERS)
    ]
    adjusted = holm([one.test.p for one in described])
    return [replace(one, p_adjusted=float(p)) for one, p in zip(described, adjusted, strict=True)]


def _describe(values: Mapping[str, pd.Series], name: str, seed: int) -> Variable:
    import pandas as pd

    known = {group: column.dropna() for group, column in values.items()}
    n = {group: len(column) for group, column in known.items()}
    missing = {group: len(column) - n[group] for group, column in values.items()}
    together = pd.concat(list(known.values()))
    numeric = pd.api.types.is_numeric_dtype(together) and not pd.api.types.is_bool_dtype(together)
    if numeric and together.nunique() > 2:
        numbers = {group: column.to_numpy(dtype=np.float64) for group, column in known.items()}
        quartiles = {
            group: tuple(np.percentile(one, [25, 50, 75]).tolist()) if len(one) else (np.nan,) * 3
            for group, one in numbers.items()
        }
        return Variable(
            name, "continuous", n, missing, quartiles=quartiles, test=kruskal_wallis(list(numbers.values()))
        )
    levels = sorted(together.unique())
    counts = {
        f"{level:g}" if isinstance(level, float) else str(level): {
            group: int((column == level).sum()) for group, column in known.items()
        }
        for level in levels
    }
    if len(levels) > MOST_LEVELS:
        test = GroupTest(note=f"not tested: {len(levels)} different values")
    else:
        test = independence([list(one.values()) for one in counts.values()], seed=seed)
    return Variable(name, "categorical", n, missing, counts=counts, test=test)


def kruskal_wallis(samples: Sequence[Array]) -> GroupTest:
    """Test whether samples come from one distribution, by ranks, corrected for ties.

    Epsilon-squared is H / (n - 1), from 0 to 1 (Tomczak & Tomczak 2014, Trends in Sport Sciences 21:19-25). Samples
    without values are left out.
    """
    from scipy.stats import kruskal

    held = [np.asarray(sample, dtype=np.float64) for sample in samples if len(sample)]
    if len(held) < 2:
        return GroupTest(note="not tested: values in one group at most")
    together = np.concatenate(held)
    if np.ptp(together) == 0:
        return GroupTest(note="not tested: all values are equal")
    found = kruskal(*held)
    note = "two groups: the same p as Mann-Whitney's test without continuity correction" if len(held) == 2 else ""
    h = float(found.statistic)
    return GroupTest(
        "Kruskal-Wallis", h, len(held) - 1, float(found.pvalue), "epsilon-squared", h / (len(together) - 1), note
    )


def independence(table: Sequence[Sequence[int]], *, seed: int = 0) -> GroupTest:
    """Test whether the rows and columns of a table of counts are independent.

    Chi-square (Pearson, without Yates's correction) where all expected counts reach 5; else Fisher's exact test for
    2 x 2, and for larger tables the Fisher-Freeman-Halton test by `RANDOM_TABLES` random tables with the same margins.
    Empty rows and columns are left out. The effect size is `cramers_v`.
    """
    from scipy.stats import MonteCarloMethod, chi2_contingency, fisher_exact

    counts = np.asarray(table, dtype=np.int64)
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0] if counts.size else counts
    if min(counts.shape) < 2:
        return GroupTest(note="not tested: one value, or values in one group at most")
    chi2, p, df, _ = (np.asarray(one) for one in chi2_contingency(counts, correction=False))
    least = float((counts.sum(axis=1).min() * counts.sum(axis=0).min()) / counts.sum())
    effect = cramers_v(float(chi2), counts.shape, int(counts.sum()))
    if least >= LEAST_EXPECTED:
        return GroupTest("chi-square", float(chi2), float(df), float(p), "Cramer's V, bias-corrected", effect)
    note = f"an expected count is {least:.1f}, under {LEAST_EXPECTED}"
    if counts.shape == (2, 2):
        name, method = "Fisher", None
    else:
        name, method = "Fisher-Freeman-Halton", MonteCarloMethod(RANDOM_TABLES, rng=np.random.default_rng(seed))
        note = f"{note}; p from {RANDOM_TABLES} random tables"
    # For tables of very few people scipy's p is an array of one number.
    exact = np.asarray(fisher_exact(counts, method=method).pvalue).item()
    return GroupTest(name, np.nan, np.nan, exact, "Cramer's V, bias-corrected", effect, note)


def cramers_v(chi2: float, shape: tuple[int, ...], n: int) -> float:
    """Return Cramer's V corrected for bias, from 0 to 1 (Bergsma 2013, doi:10.1016/j.jkss.2012.10.002)."""
    rows, columns = shape
    phi = max(0.0, chi2 / n - (rows - 1) * (columns - 1) / (n - 1))
    least = min(size - (size - 1) ** 2 / (n - 1) for size in shape) - 1
    return float(np.sqrt(phi / least)) if least > 0 else np.nan
