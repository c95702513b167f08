"""What `metrics.json` holds of one unit: everything behind its rows in the table of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.evaluation.predictions import Unit
from migxai.metrics.consistency import check_scores
from migxai.metrics.curves import calibration_points, roc_curve
from migxai.metrics.scores import confusion_matrix, why_undefined

Array = NDArray[np.float64]


def unit_document(
    unit: Unit, records: Sequence[Mapping[str, Any]], per_trial: Mapping[str, Array], per_fold: Mapping[str, Array]
) -> dict[str, Any]:
    """Describe one unit in full; `plain` makes it JSON.

    Parameters
    ----------
    unit
        Its predictions.
    records
        Its rows of the table of scores.
    per_trial, per_fold
        Scores by name, shapes (T,) and (T, F); ``per_fold`` is empty for leave-one-out.

    Returns
    -------
    dict
        What the unit is of, its classes and subjects; its metrics with the values of each trial and fold; confusion
        matrices; points of ROC curves (two classes: of the positive one) in each trial and of calibration over all;
        why scores are undefined; and combinations of scores that cannot be.
    """
    counts = np.bincount(unit.subject_classes(), minlength=len(unit.classes))
    confusion = [
        confusion_matrix(unit.y[rows], unit.predicted[rows], len(unit.classes))
        for rows in (unit.trial == trial for trial in range(len(unit.trials)))
    ]
    undefined = [
        f"Trial {name}: {reason}"
        for name, one in zip(unit.trials, confusion, strict=True)
        for reason in why_undefined(one, unit.classes)
    ]
    left_out = {*unit.key._fields, "metric"}
    return {
        **unit.key._asdict(),
        "classes": list(unit.classes),
        "positive": unit.classes[1] if len(unit.classes) == 2 else None,
        "subjects": dict(zip(unit.classes, counts.tolist(), strict=True)),
        "trials": list(unit.trials),
        "folds": list(unit.folds) if per_fold else [],
        "metrics": {
            record["metric"]: {key: value for key, value in record.items() if key not in left_out}
            | {
                "per_trial": per_trial[record["metric"]],
                "per_fold": per_fold[record["metric"]] if per_fold else None,
            }
            for record in records
        },
        "confusion": {"rows": "true class", "columns": "predicted class", "per_trial": confusion},
        "roc": _roc(unit),
        "calibration": _calibration(unit),
        "undefined": undefined,
        "consistency": _consistency(unit, per_trial),
    }


def _ranked(unit: Unit) -> list[tuple[int, str]]:
    return [(1, unit.classes[1])] if len(unit.classes) == 2 else list(enumerate(unit.classes))


def _roc(unit: Unit) -> dict[str, list[dict[str, Any]]]:
    curves: dict[str, list[dict[str, Any]]] = {}
    for c, label in _ranked(unit):
        curves[label] = []
        for trial, name in enumerate(unit.trials):
            rows = unit.trial == trial
            if len(np.unique(unit.y[rows] == c)) == 2:
                points = roc_curve(unit.y[rows] == c, unit.p[rows, c])._asdict()
                curves[label].append({"trial": name, **{key: np.round(value, 6) for key, value in points.items()}})
    return curves


def _calibration(unit: Unit) -> dict[str, dict[str, Any]]:
    points = {label: calibration_points(unit.y == c, unit.p[:, c])._asdict() for c, label in _ranked(unit)}
    return {label: {key: np.round(value, 6) for key, value in one.items()} for label, one in points.items()}


def _consistency(unit: Unit, per_trial: Mapping[str, Array]) -> list[str]:
    """Check each trial's scores, and their means, for combinations that cannot be."""
    shares = np.bincount(unit.y, minlength=len(unit.classes)).tolist()
    thresholded = bool((unit.predicted == unit.p.argmax(axis=1)).all())
    found = []
    for trial, name in enumerate(unit.trials):
        own = np.bincount(unit.y[unit.trial == trial], minlength=len(unit.classes)).tolist()
        scores = {metric: float(values[trial]) for metric, values in per_trial.items()}
        found += [f"Trial {name}: {one}" for one in check_scores(scores, shares=own, thresholded=thresholded)]
    means = {metric: float(values.mean()) for metric, values in per_trial.items()}
    return found + [f"Mean over trials: {one}" for one in check_scores(means, shares=shares)]


def plain(value: Any) -> Any:
    """Turn arrays, NumPy numbers, mappings and sequences into what JSON holds; NaN and infinities become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
