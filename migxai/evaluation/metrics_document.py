"""What `metrics.json` holds of one model's predictions: everything behind its rows in the table of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.evaluation.predictions import PredictionSet
from migxai.metrics.consistency import check_scores
from migxai.metrics.curves import calibration_points, roc_curve
from migxai.metrics.scores import confusion_matrix, why_undefined

Array = NDArray[np.float64]


def metrics_document(
    predictions: PredictionSet,
    records: Sequence[Mapping[str, Any]],
    per_trial: Mapping[str, Array],
    per_fold: Mapping[str, Array],
) -> dict[str, Any]:
    """Describe one model's predictions in full; `plain` makes it JSON.

    It tells what they are of, their classes and subjects; their metrics (`records`, rows of the table of scores) with
    the values of each trial (T,) and fold (T, F; none for leave-one-out); confusion matrices; points of ROC curves (two
    classes: of the positive one) in each trial and of calibration over all; why scores are undefined; and combinations
    of scores that cannot be.
    """
    counts = np.bincount(predictions.subject_classes(), minlength=len(predictions.classes))
    confusion = [
        confusion_matrix(predictions.y[rows], predictions.predicted[rows], len(predictions.classes))
        for rows in (predictions.trial == trial for trial in range(len(predictions.trials)))
    ]
    undefined = [
        f"Trial {name}: {reason}"
        for name, one in zip(predictions.trials, confusion, strict=True)
        for reason in why_undefined(one, predictions.classes)
    ]
    left_out = {*predictions.key._fields, "metric"}
    return {
        **predictions.key._asdict(),
        "classes": list(predictions.classes),
        "positive": predictions.classes[1] if len(predictions.classes) == 2 else None,
        "subjects": dict(zip(predictions.classes, counts.tolist(), strict=True)),
        "trials": list(predictions.trials),
        "folds": list(predictions.folds) if per_fold else [],
        "metrics": {
            record["metric"]: {key: value for key, value in record.items() if key not in left_out}
            | {
                "per_trial": per_trial[record["metric"]],
                "per_fold": per_fold[record["metric"]] if per_fold else None,
            }
            for record in records
        },
        "confusion": {"rows": "true class", "columns": "predicted class", "per_trial": confusion},
        "roc": _roc(predictions),
        "calibration": _calibration(predictions),
        "undefined": undefined,
        "consistency": _consistency(predictions, per_trial),
    }


def _ranked(predictions: PredictionSet) -> list[tuple[int, str]]:
    return [(1, predictions.classes[1])] if len(predictions.classes) == 2 else list(enumerate(predictions.classes))


def _roc(predictions: PredictionSet) -> dict[str, list[dict[str, Any]]]:
    curves: dict[str, list[dict[str, Any]]] = {}
    for c, label in _ranked(predictions):
        curves[label] = []
        for trial, name in enumerate(predictions.trials):
            rows = predictions.trial == trial
            if len(np.unique(predictions.y[rows] == c)) == 2:
                points = roc_curve(predictions.y[rows] == c, predictions.p[rows, c])._asdict()
                curves[label].append({"trial": name, **{key: np.round(value, 6) for key, value in points.items()}})
    return curves


def _calibration(predictions: PredictionSet) -> dict[str, dict[str, Any]]:
    points = {
        label: calibration_points(predictions.y == c, predictions.p[:, c])._asdict()
        for c, label in _ranked(predictions)
    }
    return {label: {key: np.round(value, 6) for key, value in one.items()} for label, one in points.items()}


def _consistency(predictions: PredictionSet, per_trial: Mapping[str, Array]) -> list[str]:
    """Check each trial's scores, and their means, for combinations that cannot be."""
    shares = np.bincount(predictions.y, minlength=len(predictions.classes)).tolist()
    thresholded = bool((predictions.predicted == predictions.p.argmax(axis=1)).all())
    found = []
    for trial, name in enumerate(predictions.trials):
        own = np.bincount(predictions.y[predictions.trial == trial], minlength=len(predictions.classes)).tolist()
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
