"""All scores of a table of predictions, as a long table and as one nested document (`metrics.json`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from migxai.evaluation.model_comparison import ComparedModel, allowed_tests, compare_models
from migxai.evaluation.predictions import PredictionSet, split_predictions
from migxai.metrics.consistency import check_scores
from migxai.metrics.curves import calibration_points, roc_curve
from migxai.metrics.inference import Interval, clopper_pearson, delong_interval, percentile_interval, resample_groups
from migxai.metrics.scores import DEFINITIONS, averaging, confusion_matrix, evaluate, family, score, sums, why_undefined

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

NOTES = (
    "value: in each trial the score is computed once, on the pooled out-of-fold predictions of all subjects; value and "
    "sd are the mean and the standard deviation (divisor n - 1) over trials.",
    "fold_mean and fold_sd: the score computed within each fold, then the mean and standard deviation over all folds "
    "and trials that leave it defined (n_folds). Not for leave-one-out, where a fold is one subject.",
    "low and high: 95 % percentile interval from resampling subjects within classes; all trials and slices of a "
    "subject are drawn together. Models are not trained anew, so variation between training sets is left out.",
    "exact_low and exact_high: 95 % Clopper-Pearson interval of a proportion, or DeLong's of an area, for one trial at "
    "subject level alone: over trials the same subjects come again, and slices of a subject are not independent.",
    "Pooled areas under the ROC curve rank scores of the models of different folds against each other; with "
    "leave-one-out that biases them downwards.",
    "Subjects of one site are resampled as if they were independent.",
    "p_holm: adjusted over the pairs of models of one comparison, indicator, metric and test.",
    "The expected calibration error of few subjects is biased upwards, and in resamples more so: its interval is high.",
    "Scores that are undefined are empty, never 0.",
    "Slices inherit their subject's label; the number of slices is no sample size.",
)


@dataclass(frozen=True)
class Scores:
    """What `score_predictions` found: a table with a row for each score, the same as JSON, and pairs of models.

    The document has besides the values of each trial and fold, confusion matrices, ROC and calibration points, and the
    comparisons, which are as `migxai.evaluation.model_comparison.compare_models` makes them. Numbers that do not exist
    are null there.
    """

    table: pd.DataFrame
    document: dict[str, Any]
    comparisons: pd.DataFrame


def score_predictions(
    subjects: pd.DataFrame,
    slices: pd.DataFrame | None,
    classes: Mapping[str, Sequence[str]],
    *,
    cv: str,
    seed: int,
    bootstraps: int,
) -> Scores:
    """Score out-of-fold predictions at subject level and, where given, at slice level.

    Parameters
    ----------
    subjects, slices
        As `migxai.evaluation.predictions.split_predictions` takes them; a probability is NaN where the class is of
        other comparisons.
    classes
        Comparison to its class names in order; of two, the second is positive.
    cv
        ``kfold``, ``leave-one-out`` or ``leave-one-site-out``.
    seed, bootstraps
        The seed of the bootstrap, and its number of resamples of subjects.

    Raises
    ------
    InputError
        If a table is not as described.
    UsageError
        If there is no such cross-validation, or no resample is asked for.
    """
    import pandas as pd

    allowed_tests(cv, n_classes=2, trials=1)  # Refuses an unknown cross-validation before any work.
    sets = split_predictions(subjects, classes, "subject")
    if slices is not None:
        sets = sorted([*sets, *split_predictions(slices, classes, "slice")], key=lambda one: one.key[:3])
    records, documents, models = [], [], []
    for predictions in sets:
        rows, document, model = score_model(predictions, cv=cv, seed=seed, bootstraps=bootstraps)
        records += rows
        documents.append(document)
        if predictions.key.level == "subject":
            models.append(model)
    compared: list[dict[str, Any]] = []
    for task in sorted({model.predictions.key[:2] for model in models}):
        compared += compare_models([model for model in models if model.predictions.key[:2] == task], cv)
    content = {
        "schema_version": 1,
        "cross_validation": cv,
        "seed": seed,
        "bootstraps": bootstraps,
        "confidence": 0.95,
        "definitions": DEFINITIONS,
        "notes": list(NOTES),
        "units": documents,
        "model_comparisons": compared,
    }
    return Scores(table=pd.DataFrame(records), document=plain(content), comparisons=pd.DataFrame(compared))


def score_model(
    predictions: PredictionSet, *, cv: str, seed: int, bootstraps: int
) -> tuple[list[dict[str, Any]], dict[str, Any], ComparedModel]:
    """Compute all scores of one model, over trials, in each trial and fold, and in resamples of its subjects.

    Returns rows of the table, the model's part of the document, and what comparisons need.
    """
    weights = resample_groups(predictions.subject_classes(), resamples=bootstraps, seed=seed)
    per_trial, resampled = _by_trial(predictions, weights)
    per_fold = {} if cv == "leave-one-out" else _by_fold(predictions)
    exact = (
        _exact_intervals(predictions, cv) if len(predictions.trials) == 1 and predictions.key.level == "subject" else {}
    )
    records = []
    for name, values in per_trial.items():
        low, high, undefined = percentile_interval(resampled[name])
        interval, method = exact.get(name, (Interval(np.nan, np.nan), ""))
        folds = per_fold[name][np.isfinite(per_fold[name])] if per_fold else np.empty(0)
        records.append(
            {
                **predictions.key._asdict(),
                "metric": name,
                "averaging": averaging(name, predictions.classes),
                "value": float(values.mean()),
                "sd": _spread(values),
                "low": low,
                "high": high,
                "interval_method": _bootstrap_text(bootstraps, undefined, bool(np.isfinite(low))),
                "exact_low": interval.low,
                "exact_high": interval.high,
                "exact_method": method,
                "fold_mean": float(folds.mean()) if len(folds) else np.nan,
                "fold_sd": _spread(folds),
                "n_folds": len(folds),
                "n_trials": len(predictions.trials),
                "n": len(predictions.subjects),
                "n_rows": len(predictions.y),
                "how": _how(predictions, name),
            }
        )
    values_over_trials = {record["metric"]: record["value"] for record in records}
    model = ComparedModel(predictions, values_over_trials, per_fold, resampled)
    return records, metrics_document(predictions, records, per_trial, per_fold), model


def _by_trial(predictions: PredictionSet, weights: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return scores by trial (T,), and their means over trials in each resample (B,)."""
    points, resamples = [], []
    for trial in range(len(predictions.trials)):
        rows = predictions.trial == trial
        parts = sums(
            predictions.y[rows],
            predictions.p[rows],
            predictions.classes,
            predictions.predicted[rows],
            groups=predictions.subject[rows],
            n_groups=len(predictions.subjects),
        )
        points.append(evaluate(parts))
        resamples.append(evaluate(parts, weights))
    per_trial = {name: np.array([point[name][0] for point in points]) for name in points[0]}
    return per_trial, {name: np.mean([one[name] for one in resamples], axis=0) for name in points[0]}


def _by_fold(predictions: PredictionSet) -> dict[str, Array]:
    """Return scores within each fold of each trial, shape (T, F), NaN where undefined or without rows."""
    found: dict[str, Array] = {}
    for trial in range(len(predictions.trials)):
        for fold in range(len(predictions.folds)):
            rows = (predictions.trial == trial) & (predictions.fold == fold)
            if rows.any():
                one = score(predictions.y[rows], predictions.p[rows], predictions.classes, predictions.predicted[rows])
                for name, value in one.items():
                    empty: Array = np.full((len(predictions.trials), len(predictions.folds)), np.nan)
                    found.setdefault(name, empty)[trial, fold] = value
    return found


def _exact_intervals(predictions: PredictionSet, cv: str) -> dict[str, tuple[Interval, str]]:
    """Return exact intervals of proportions, and DeLong's of the area, of one trial's independent subjects."""
    confusion = confusion_matrix(predictions.y, predictions.predicted, len(predictions.classes))
    counts = {"accuracy": (int(np.trace(confusion)), len(predictions.y))}
    counts |= {
        f"recall[{label}]": (int(confusion[c, c]), int(confusion[c].sum()))
        for c, label in enumerate(predictions.classes)
    }
    if len(predictions.classes) == 2:
        counts["specificity"], counts["sensitivity"] = list(counts.values())[1:]
    found = {name: (clopper_pearson(k, n), "Clopper-Pearson") for name, (k, n) in counts.items()}
    if len(predictions.classes) == 2 and cv != "leave-one-out" and min(np.bincount(predictions.y, minlength=2)) > 1:
        found["roc_auc"] = (delong_interval(predictions.y, predictions.p[:, 1]), "DeLong")
    return found


def _spread(values: Array) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else np.nan


def _bootstrap_text(bootstraps: int, undefined: int, given: bool) -> str:
    text = f"percentiles of {bootstraps} resamples of subjects within classes"
    if not undefined:
        return text
    return f"{text}, {undefined} of them undefined" + ("" if given else ": no interval")


def _how(predictions: PredictionSet, name: str) -> str:
    trials = len(predictions.trials)
    rows = f"{len(predictions.subjects)} subjects"
    if predictions.key.level == "slice":
        rows = f"{len(predictions.y) / trials:g} slices of {rows}"
    over = f"mean over {trials} trials, each " if trials > 1 else ""
    return f"{DEFINITIONS[family(name)]}; {averaging(name, predictions.classes)}; {over}of pooled predictions of {rows}"


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
            | {"per_trial": per_trial[record["metric"]], "per_fold": per_fold[record["metric"]] if per_fold else None}
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
