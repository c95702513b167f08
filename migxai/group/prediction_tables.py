"""The tables of predictions: a row a subject, or a slice, for each comparison, indicator, model, trial and fold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from migxai.metrics.scores import aggregate_subjects
from migxai.metrics.types import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class TestedFold:
    """What one fold of a unit said of its test subjects.

    Attributes
    ----------
    comparison, indicator, model, trial, fold
        What was tested.
    classes
        Names of the C classes.
    subjects
        Keys of the test subjects.
    labels
        Their true classes, (n,).
    probabilities
        Shape (n, S, C).
    """

    comparison: str
    indicator: str
    model: str
    trial: int
    fold: int
    classes: tuple[str, ...]
    subjects: tuple[str, ...]
    labels: IntArray
    probabilities: FloatArray


def prediction_tables(
    folds: Iterable[TestedFold], vote: Literal["mean", "majority"]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lay out predictions of subjects, and of slices for the models that see slices.

    Parameters
    ----------
    folds
        Of all units.
    vote
        How a subject's slices decide.

    Returns
    -------
    subjects, slices
        Columns comparison, indicator, model, trial, fold, subject (and slice, from 1), label, predicted, and
        ``p[<class>]`` for every class of any comparison, missing where it is none of this one.
    """
    by_subject, by_slice = [], []
    for fold in folds:
        whole = aggregate_subjects(fold.probabilities, vote=vote)
        by_subject.append(_rows(fold, fold.subjects, fold.labels, whole))
        slices = fold.probabilities.shape[1]
        if slices > 1:
            rows = _rows(
                fold,
                np.repeat(fold.subjects, slices).tolist(),
                np.repeat(fold.labels, slices),
                fold.probabilities.reshape(-1, len(fold.classes)),
            )
            rows.insert(6, "slice", np.tile(np.arange(1, slices + 1), len(fold.subjects)))
            by_slice.append(rows)
    empty = pd.DataFrame()
    return _joined(by_subject) if by_subject else empty, _joined(by_slice) if by_slice else empty


def _rows(fold: TestedFold, subjects: Sequence[str], labels: IntArray, probabilities: FloatArray) -> pd.DataFrame:
    names = np.asarray(fold.classes)
    content: dict[str, Any] = {
        "comparison": fold.comparison,
        "indicator": fold.indicator,
        "model": fold.model,
        "trial": fold.trial,
        "fold": fold.fold,
        "subject": list(subjects),
        "label": names[labels],
        "predicted": names[probabilities.argmax(axis=1)],
    }
    content |= {f"p[{name}]": probabilities[:, place] for place, name in enumerate(fold.classes)}
    return pd.DataFrame(content)


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True)
