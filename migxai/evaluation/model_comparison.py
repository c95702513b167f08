"""Paired comparison of models, by tests that the cross-validation allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from migxai.errors import InputError, UsageError
from migxai.evaluation.predictions import PredictionSet
from migxai.metrics.inference import PairedTest, corrected_t_test, delong_test, holm, percentile_interval
from migxai.metrics.types import IntArray

Array = NDArray[np.float64]


class Allowed(NamedTuple):
    """Which tests a design allows, and in a sentence why not the others."""

    corrected_t: bool
    delong: bool
    reason: str


def allowed_tests(cv: str, *, n_classes: int, trials: int) -> Allowed:
    """Choose the tests that the cross-validation, the classes and the trials allow; UsageError for an unknown `cv`."""
    if cv == "leave-one-out":
        return Allowed(
            False,
            False,
            "No test: with one subject left out, a fold's score is right or wrong, and training sets overlap beyond "
            "what a corrected t-test allows for; and each pooled score comes from another model, trained with one "
            "fewer of the subject's own class, which biases the area that DeLong's test takes.",
        )
    if cv not in ("kfold", "leave-one-site-out"):
        raise UsageError(f"There is no cross-validation {cv!r}; there are kfold, leave-one-out, leave-one-site-out.")
    delong = n_classes == 2 and trials == 1
    why = (
        "DeLong's test takes the pooled out-of-fold scores as those of one model."
        if delong
        else "No DeLong test: it is for two classes."
        if n_classes != 2
        else "No DeLong test: over several trials a subject has several scores, and it takes one."
    )
    if cv == "leave-one-site-out":
        return Allowed(
            False,
            delong,
            "No corrected t-test: its correction is for random test sets of one size, and sites are neither. " + why,
        )
    return Allowed(True, delong, "Corrected t-test over folds and trials, since training sets overlap. " + why)


@dataclass(frozen=True)
class ComparedModel:
    """A scored model, ready to be compared with others on the same subjects; one prediction per subject and trial.

    `per_fold` holds scores in each fold of each trial, shape (trials, folds), NaN where undefined, and is empty for
    leave-one-out; `resampled` those in each resample of subjects, shape (B,), resamples being the same for all models.
    """

    predictions: PredictionSet
    scores: Mapping[str, float]
    per_fold: Mapping[str, Array]
    resampled: Mapping[str, Array]


def compare_models(models: Sequence[ComparedModel], cv: str) -> list[dict[str, Any]]:
    """Compare each pair of models of one comparison and indicator, at subject level, by what `allowed_tests` allows.

    p values are adjusted by Holm's method over the pairs of one test of one metric, and numbers that do not exist are
    NaN. Where no test is allowed the interval is from the subject bootstrap. UsageError for an unknown `cv` or a model
    at slice level (slices of a subject are not independent), InputError for a single fold.
    """
    records: list[dict[str, Any]] = []
    for first, second in combinations(models, 2):
        if "slice" in (first.predictions.key.level, second.predictions.key.level):
            raise UsageError("Models are compared at subject level: slices of a subject are not independent.")
        records += _compare_pair(first, second, cv)
    for test, metric in {(record["test"], record["metric"]) for record in records}:
        family = [record for record in records if (record["test"], record["metric"]) == (test, metric)]
        for record, adjusted in zip(family, holm([record["p"] for record in family]), strict=True):
            record["p_holm"] = float(adjusted)
    return records


def _compare_pair(first: ComparedModel, second: ComparedModel, cv: str) -> list[dict[str, Any]]:
    predictions = first.predictions
    allowed = allowed_tests(cv, n_classes=len(predictions.classes), trials=len(predictions.trials))
    area = "roc_auc" if len(predictions.classes) == 2 else "roc_auc_ovr_macro"
    metrics = ("accuracy", "balanced_accuracy", area)
    names = [(one.trials, one.folds, one.subjects) for one in (predictions, second.predictions)]
    if names[0] != names[1] or not np.array_equal(_aligned(predictions), _aligned(second.predictions)):
        why = "Not compared: the two models have no predictions of the same subjects in the same folds."
        empty = PairedTest(*[np.nan] * 6)
        return [_record(first, second, metric, "none", empty, why) for metric in metrics]
    records = []
    for metric in metrics:
        if allowed.corrected_t:
            differences = (first.per_fold[metric] - second.per_fold[metric]).ravel()
            defined = np.isfinite(differences)
            found = corrected_t_test(differences[defined], _test_to_train(predictions))
            missing = f" {int((~defined).sum())} folds leave the score undefined." if not defined.all() else ""
            how = f"Mean difference over {int(defined.sum())} folds.{missing} {allowed.reason}"
            records.append(_record(first, second, metric, "corrected t-test", found, how))
        if allowed.delong and metric == area:
            rows = [np.argsort(one.predictions.subject) for one in (first, second)]
            found = delong_test(predictions.y[rows[0]], predictions.p[rows[0], 1], second.predictions.p[rows[1], 1])
            records.append(_record(first, second, metric, "DeLong", found, allowed.reason))
        elif not allowed.corrected_t:
            low, high, _ = percentile_interval(first.resampled[metric] - second.resampled[metric])
            nothing = PairedTest(first.scores[metric] - second.scores[metric], low, high, np.nan, np.nan, np.nan)
            how = f"{allowed.reason} The interval is from resampled subjects and leaves out variation by training."
            records.append(_record(first, second, metric, "none", nothing, how))
    return records


def _aligned(predictions: PredictionSet) -> IntArray:
    """Return trial, subject, fold and class of each row, in order of trial and subject, shape (4, n)."""
    order = np.lexsort((predictions.subject, predictions.trial))
    return np.stack([predictions.trial, predictions.subject, predictions.fold, predictions.y])[:, order]


def _test_to_train(predictions: PredictionSet) -> float:
    """Return test subjects per training subject (those of the trial's other folds), mean over all folds."""
    if len(predictions.folds) < 2:
        raise InputError(f"Cross-validation needs at least two folds ({predictions.key}).")
    tested = np.zeros((len(predictions.trials), len(predictions.folds)))
    np.add.at(tested, (predictions.trial, predictions.fold), 1)
    trained = tested.sum(axis=1, keepdims=True) - tested
    return float((tested / trained)[tested > 0].mean())


def _record(
    first: ComparedModel, second: ComparedModel, metric: str, test: str, found: PairedTest, how: str
) -> dict[str, Any]:
    key = first.predictions.key
    return {
        "comparison": key.comparison,
        "indicator": key.indicator,
        "level": key.level,
        "metric": metric,
        "model_a": key.model,
        "model_b": second.predictions.key.model,
        "value_a": first.scores[metric],
        "value_b": second.scores[metric],
        "test": test,
        **found._asdict(),
        "p_holm": np.nan,
        "n": len(first.predictions.subjects),
        "how": how,
    }
