"""Combinations of scores that no predictions can have, in one's own results and in published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite

import numpy as np

#: Of scores computed here, in double precision.
ROUNDING = 1e-9


def f1_bounds(precision: float, recall: float) -> tuple[float, float]:
    """Bounds of an average of F1 over classes, from the same average of precision and of recall.

    F1 of a class is the harmonic mean H(p, r) = 2pr / (p + r). H is concave and homogeneous on p, r >= 0, so for any
    weights (macro or by class size; also over folds and trials) the mean of H is at most H of the means (Jensen).
    Within 0 and 1, H(p, r) >= min(p, r) >= p + r - 1, so the mean is at least that of p plus that of r minus 1. Source
    of the upper bound: Opitz & Burst 2019, arXiv:1911.03347.
    """
    total = precision + recall
    return max(0.0, total - 1), 2 * precision * recall / total if total > 0 else 0.0


def recall_bounds(accuracy: float, shares: Sequence[float]) -> tuple[float, float]:
    """Bounds of the unweighted mean of the classes' recalls, from accuracy and the classes' shares of all rows.

    Accuracy is the mean of recalls weighted by shares. The mean recall is least when all errors fall on the smallest
    classes, and most when they fall on the largest (a fractional knapsack).
    """
    bounds = []
    for order in (sorted(shares), sorted(shares, reverse=True)):
        errors, recalls = (1 - accuracy) * sum(order), 0.0
        for share in order:
            wrong = min(errors, share)
            errors -= wrong
            recalls += 1 - wrong / share if share > 0 else 0.0
        bounds.append(recalls / len(order))
    return bounds[0], bounds[1]


def auc_bounds(sensitivity: float, specificity: float) -> tuple[float, float]:
    """Bounds of the area under a ROC curve that passes through one point.

    The curve rises with the false positive rate, so its area is at least that of the rectangle below and right of the
    point, and at most all but the rectangle above and left of it. Only for predictions by a threshold on the score.
    """
    return sensitivity * specificity, 1 - (1 - sensitivity) * (1 - specificity)


def accuracy_reachable(accuracy: float, tolerance: float, test_sizes: Sequence[int], trials: int = 1) -> bool:
    """Say whether a mean of accuracies (0 to 1), give or take a tolerance, can come out of counts of subjects.

    An accuracy is a count divided by the test set's size (`test_sizes`: of each fold, or all subjects as one where a
    trial's predictions are pooled), and the mean may be over `trials` too: few values are possible. After the GRIM test
    for means of integers (Brown & Heathers 2017, doi:10.1177/1948550616673876).
    """
    sizes, counts = np.unique(test_sizes, return_counts=True)
    # Every test set weighs the same, so what must be met is the sum over test sets of errors / size.
    least, most = (float((1 - accuracy + sign * tolerance) * len(test_sizes) * trials) for sign in (-1, 1))
    sums = np.zeros(1)
    for size, count in zip(sizes[:-1], counts[:-1], strict=True):
        errors = np.arange(min(count * trials * size, int(most * size + ROUNDING)) + 1)
        sums = (sums[:, None] + errors / size).ravel()
    # The errors in test sets of the last size must fill what is left with a whole number.
    first = np.maximum(np.ceil((least - sums) * sizes[-1] - ROUNDING), 0)
    last = np.minimum(np.floor((most - sums) * sizes[-1] + ROUNDING), counts[-1] * trials * sizes[-1])
    return bool((first <= last).any())


def check_scores(
    scores: Mapping[str, float], *, shares: Sequence[float] = (), thresholded: bool = False, tolerance: float = ROUNDING
) -> list[str]:
    """Say in a sentence each which combinations of scores the same predictions cannot have.

    Scores have the names of `migxai.metrics.scores.evaluate` and are of one trial, or means over several; NaN and
    unknown names are passed over. `shares` (or counts) of the classes give bounds of recall from accuracy; empty leaves
    those out. The area is bounded by sensitivity and specificity only if a single set of predictions is `thresholded`:
    by a threshold on the score that the ROC curve is of. `tolerance` is half the last digit that the scores were
    rounded to.
    """
    known = {name: float(value) for name, value in scores.items() if isfinite(value)}
    found = _outside(known, tolerance)
    for average in ("macro", "weighted"):
        found += _impossible_f1(known, average, tolerance)
    found += _unequal(known, "recall_macro", "balanced_accuracy", tolerance)
    found += _unequal(known, "recall_weighted", "accuracy", tolerance)
    if shares:
        found += _impossible_recall(known, shares, tolerance)
    if thresholded:
        found += _impossible_area(known, tolerance)
    return found


def _outside(known: Mapping[str, float], tolerance: float) -> list[str]:
    found = []
    for name, value in known.items():
        most = inf if name == "log_loss" else 2 if name == "brier" else 1
        if not -tolerance <= value <= most + tolerance:
            found.append(f"{name} {value:.4f} is outside 0 to {most}.")
    return found


def _impossible_f1(known: Mapping[str, float], average: str, tolerance: float) -> list[str]:
    names = [f"{name}_{average}" for name in ("precision", "recall", "f1")]
    if not set(names) <= set(known):
        return []
    p, r, f1 = (known[name] for name in names)
    low = f1_bounds(max(p - tolerance, 0), max(r - tolerance, 0))[0]
    high = f1_bounds(p + tolerance, r + tolerance)[1]
    if low - tolerance <= f1 <= high + tolerance:
        return []
    return [
        f"F1 {f1:.4f} is impossible beside precision {p:.4f} and recall {r:.4f} if all are {average} averages of the "
        f"same predictions: it must lie between {low:.4f} and their harmonic mean, {high:.4f} (Opitz & Burst 2019)."
    ]


def _impossible_recall(known: Mapping[str, float], shares: Sequence[float], tolerance: float) -> list[str]:
    if not {"accuracy", "recall_macro"} <= set(known):
        return []
    accuracy, recall = known["accuracy"], known["recall_macro"]
    low = recall_bounds(max(accuracy - tolerance, 0), shares)[0]
    high = recall_bounds(min(accuracy + tolerance, 1), shares)[1]
    if low - tolerance <= recall <= high + tolerance:
        return []
    return [
        f"Recall {recall:.4f} is impossible beside accuracy {accuracy:.4f} if it is the macro average of the same "
        f"predictions: with classes of these sizes it must lie between {low:.4f} and {high:.4f}."
    ]


def _impossible_area(known: Mapping[str, float], tolerance: float) -> list[str]:
    if not {"sensitivity", "specificity", "roc_auc"} <= set(known):
        return []
    area, sensitivity, specificity = (known[name] for name in ("roc_auc", "sensitivity", "specificity"))
    low, high = auc_bounds(sensitivity, specificity)
    if low - 3 * tolerance <= area <= high + 3 * tolerance:
        return []
    return [
        f"AUC {area:.4f} is impossible beside sensitivity {sensitivity:.4f} and specificity {specificity:.4f} of a "
        f"threshold on the same score: it must lie between {low:.4f} and {high:.4f}."
    ]


def _unequal(known: Mapping[str, float], first: str, second: str, tolerance: float) -> list[str]:
    if first in known and second in known and abs(known[first] - known[second]) > 2 * tolerance:
        return [f"{first} {known[first]:.4f} and {second} {known[second]:.4f} differ, but are one by definition."]
    return []
