"""Tables of predictions as arrays: one set for each comparison, indicator, model and level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from migxai.errors import InputError
from migxai.io import read_tsv
from migxai.metrics.scores import check_predictions
from migxai.metrics.types import IntArray

if TYPE_CHECKING:
    import pandas as pd

Level = Literal["subject", "slice"]
Array = NDArray[np.float64]

#: Columns of a table of predictions before the probabilities, ``p[<class>]``; slices have ``slice`` too.
COLUMNS = ("comparison", "indicator", "model", "trial", "fold", "subject", "label", "predicted")


class PredictionKey(NamedTuple):
    """What a set of predictions is of."""

    comparison: str
    indicator: str
    model: str
    level: Level

    def __str__(self) -> str:
        return f"{self.comparison}, {self.indicator}, {self.model}, level {self.level}"


@dataclass(frozen=True)
class PredictionSet:
    """The out-of-fold predictions of one model on one indicator in one comparison, at one level; n rows.

    Attributes
    ----------
    classes
        C names; of two, the second is positive.
    y, predicted
        True and predicted classes, 0 to C - 1, shape (n,).
    p
        Probabilities, shape (n, C).
    trial, fold, subject
        Index into `trials`, `folds` and `subjects` (the names, sorted) of each row, shape (n,).
    """

    key: PredictionKey
    classes: tuple[str, ...]
    y: IntArray
    predicted: IntArray
    p: Array
    trial: IntArray
    fold: IntArray
    subject: IntArray
    trials: tuple[str, ...]
    folds: tuple[str, ...]
    subjects: tuple[str, ...]

    def subject_classes(self) -> IntArray:
        """Return the true class of each subject, shape (number of subjects,)."""
        classes = np.zeros(len(self.subjects), dtype=np.intp)
        classes[self.subject] = self.y
        return classes


def read_predictions(path: Path) -> pd.DataFrame:
    """Read a table of predictions, with trials, folds, slices and probabilities as numbers."""
    import pandas as pd

    table = read_tsv(path, path.parent)
    for name in table:
        if name in ("trial", "fold", "slice") or str(name).startswith("p["):
            table[name] = pd.to_numeric(table[name].replace("n/a", None))
    return table


def split_predictions(table: pd.DataFrame, classes: Mapping[str, Sequence[str]], level: Level) -> list[PredictionSet]:
    """Split a table of predictions at one level into sets of one model each, checked.

    The table has columns `COLUMNS` (``label`` and ``predicted`` are class names), a column ``p[<class>]`` for each
    class, and ``slice`` at that level; `classes` maps comparisons to their class names, in order. InputError if there
    is no row, a column is absent, a comparison or class unknown, a probability missing or impossible, a row there
    twice, or a subject has two labels or two folds within a trial.
    """
    wanted = [*COLUMNS, *(["slice"] if level == "slice" else [])]
    absent = [name for name in wanted if name not in table.columns]
    if absent:
        raise InputError(f"The table of {level} predictions has no column {absent[0]!r}.")
    if table.empty:
        raise InputError(f"There are no {level} predictions to score.")
    sets = []
    for (comparison, indicator, model), rows in table.groupby(["comparison", "indicator", "model"], sort=True):
        key = PredictionKey(str(comparison), str(indicator), str(model), level)
        if key.comparison not in classes:
            raise InputError(f"Predictions are of comparison {key.comparison!r}, whose classes are not given.")
        sets.append(_checked_set(key, rows, tuple(classes[key.comparison])))
    return sets


def _checked_set(key: PredictionKey, rows: pd.DataFrame, classes: tuple[str, ...]) -> PredictionSet:
    columns = [f"p[{label}]" for label in classes]
    absent = [name for name in columns if name not in rows.columns]
    if absent:
        raise InputError(f"Predictions ({key}) have no column {absent[0]!r}.")
    twice = rows.duplicated(["trial", "subject", *(["slice"] if key.level == "slice" else [])])
    if twice.any():
        raise InputError(f"Subject {rows.loc[twice, 'subject'].iloc[0]!r} is there twice in one trial ({key}).")
    codes = {label: c for c, label in enumerate(classes)}
    y, predicted = (_coded(rows[name], codes, key) for name in ("label", "predicted"))
    p = rows[columns].to_numpy(dtype=np.float64)
    broken = ~np.isfinite(p).all(axis=1)
    if broken.any():
        raise InputError(f"A probability of subject {rows['subject'][broken].iloc[0]!r} is missing ({key}).")
    try:
        check_predictions(y, p, predicted, len(classes))
    except InputError as problem:
        raise InputError(f"{problem} ({key})") from None
    trials, trial = _indexed(rows["trial"])
    folds, fold = _indexed(rows["fold"])
    subjects, subject = _indexed(rows["subject"])
    for what, values, within in (("labels", y, subject), ("folds in one trial", fold, subject * len(trials) + trial)):
        pairs = np.unique(np.stack([within, values]), axis=1)[0]
        if len(np.unique(pairs)) < len(pairs):
            several = pairs[1:][np.diff(pairs) == 0][0]
            name = subjects[several if what == "labels" else several // len(trials)]
            raise InputError(f"Subject {name!r} has two {what} ({key}).")
    return PredictionSet(key, classes, y, predicted, p, trial, fold, subject, trials, folds, subjects)


def _coded(values: pd.Series, codes: Mapping[str, int], key: PredictionKey) -> IntArray:
    found = values.astype(str).map(codes)
    if found.isna().any():
        raise InputError(f"{values.name} {values[found.isna()].iloc[0]!r} is not a class of the comparison ({key}).")
    return found.to_numpy(dtype=np.intp)


def _indexed(values: pd.Series) -> tuple[tuple[str, ...], IntArray]:
    """Return the distinct values in order, numbers by size, and the index of each row's."""
    names, index = np.unique(values.to_numpy(), return_inverse=True)
    return tuple(str(name) for name in names), index
