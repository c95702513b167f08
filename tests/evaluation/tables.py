"""Small tables of made-up subjects that several tests of the classifiers share."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.learning.feature_store import ModelInputs


def make_table(
    n: int = 40, *, regions: int = 12, classes: int = 2, effect: float = 1.5, gaps: float = 0.05, seed: int = 0
) -> tuple[ModelInputs, NDArray[np.int64]]:
    """Subjects whose first two regions and second nuisance column differ between classes, with gaps, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    values = rng.normal(1.0, 0.2, (n, regions))
    values[:, :2] += 0.2 * effect * labels[:, np.newaxis]
    values[rng.random(values.shape) < gaps] = np.nan
    nuisance = np.stack([rng.normal(35, 8, n), rng.gamma(2, 0.1, n) + 0.2 * labels, np.ones(n)], axis=1)
    nuisance[rng.random(n) < gaps, 0] = np.nan
    subjects = tuple(f"made/sub-{row + 1:02d}" for row in range(n))
    return ModelInputs(subjects, values, nuisance, ("age", "motion", "scanner")), labels


def other_rows_changed(inputs: ModelInputs, rows: NDArray[Any], *, infinite: bool = True) -> ModelInputs:
    """The same inputs with other numbers, one of them `infinite`, for every subject but `rows`."""
    changed = {}
    for table in ("regions", "nuisance"):
        values = getattr(inputs, table).copy()
        others = np.setdiff1d(np.arange(len(values)), rows)
        values[others] = 1e3 * np.random.default_rng(9).standard_normal((len(others), values.shape[1]))
        if infinite:
            values[others[0]] = np.inf
        changed[table] = values
    return dataclasses.replace(inputs, **changed)
