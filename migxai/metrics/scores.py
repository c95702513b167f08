"""Scores of predicted classes and probabilities, in one form for single numbers and for resamples.

Every score but the area under the ROC curve is a function of sums over rows; that area is one of pairs of rows. So
`sums` reduces the rows to what each group of them (a subject, with all its slices) contributes, and `evaluate` turns
any weighting of the groups into all scores at once: weights of one give the scores themselves, resampled counts give
their bootstrap distribution.

Two classes: the second is the positive one (patients). A score that its definition leaves open is NaN, never 0: recall
and F1 of a class of which the rows hold nobody, precision of a class that was never predicted, an average over classes
of which one is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from migxai.errors import InputError, UsageError
from migxai.metrics.types import FloatArray, IntArray

Array = NDArray[np.float64]

#: Equal-width bins of confidence behind the expected calibration error.
CALIBRATION_BINS = 10

#: How each family of scores is defined; a name is a family, with its averaging or its class: ``f1_macro``, ``f1[MWA]``.
DEFINITIONS = {
    "accuracy": "share of rows whose predicted class is the true one",
    "balanced_accuracy": "unweighted mean of the classes' recalls",
    "precision": "TP / (TP + FP)",
    "recall": "TP / (TP + FN)",
    "sensitivity": "recall of the positive class, the second of two",
    "specificity": "TN / (TN + FP)",
    "f1": "2 TP / (2 TP + FP + FN)",
    "roc_auc": "probability that a row of the class has a higher probability for it than another row, ties one half",
    "brier": "mean over rows of the sum over all classes of (probability - truth)^2, from 0 to 2; for two classes "
    "twice the one-class form",
    "log_loss": "mean of -ln(probability of the true class), probabilities clipped at machine precision",
    "ece": f"expected calibration error: mean of |accuracy - confidence| over {CALIBRATION_BINS} equal-width bins of "
    "the predicted class's probability, weighted by their rows",
}


@dataclass(frozen=True)
class Sums:
    """What the rows of each of G groups contribute; C classes.

    Attributes
    ----------
    confusion
        Rows by group, true and predicted class, shape (G, C, C).
    losses
        Sums of squared error and of negative log probability, shape (G, 2).
    bins
        Rows, summed confidence and correct rows by bin of confidence, shape (G, 3, `CALIBRATION_BINS`).
    wins
        Of pairs of a row of the class in group g and a row of another class in group h, how many the first wins (ties
        one half), shape (K, G, G); K is 1 (the positive class) for two classes, else C.
    """

    classes: tuple[str, ...]
    confusion: Array
    losses: Array
    bins: Array
    wins: Array


def check_predictions(y: IntArray, p: FloatArray, predicted: IntArray | None, n_classes: int) -> None:
    """Refuse labels and probabilities that cannot be scored, by an InputError.

    Shapes must agree, there must be a row, classes must be 0 to C - 1, and probabilities finite, within 0 and 1, with
    sum 1.
    """
    if p.ndim != 2 or p.shape != (len(y), n_classes) or (predicted is not None and len(predicted) != len(y)):
        raise InputError(f"Predictions do not fit: {len(y)} labels, probabilities {p.shape}, {n_classes} classes.")
    if not len(y):
        raise InputError("There are no predictions to score.")
    for name, values in (("label", y), ("predicted class", y if predicted is None else predicted)):
        if values.min() < 0 or values.max() >= n_classes:
            raise InputError(f"A {name} is not one of the {n_classes} classes.")
    if not np.isfinite(p).all():
        raise InputError("A predicted probability is not a finite number.")
    if p.min() < -1e-6 or p.max() > 1 + 1e-6 or np.abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise InputError("Predicted probabilities must be within 0 and 1 and sum to 1 for each row.")


def sums(
    y: IntArray,
    p: FloatArray,
    classes: Sequence[str],
    predicted: IntArray | None = None,
    *,
    groups: IntArray | None = None,
    n_groups: int = 1,
) -> Sums:
    """Reduce predictions to what each group of rows contributes to every score; InputError as `check_predictions`.

    True classes y (0 to C - 1) and predicted ones (by default the most probable) have shape (n,), probabilities p (n,
    C). `groups` holds the group of each row, 0 to `n_groups` - 1, shape (n,); by default all rows are one. A group may
    have no row.
    """
    values: Array = np.asarray(p, dtype=np.float64)
    y = np.asarray(y)
    check_predictions(y, values, predicted, len(classes))
    said = values.argmax(axis=1) if predicted is None else np.asarray(predicted)
    group = np.zeros(len(y), dtype=np.intp) if groups is None else np.asarray(groups)
    size = len(classes)
    confusion = np.bincount((group * size + y) * size + said, minlength=n_groups * size * size)
    truth = np.eye(size)[y]
    of_truth = np.clip(values[np.arange(len(y)), y], np.finfo(np.float64).eps, 1.0)
    loss = np.stack([((values - truth) ** 2).sum(axis=1), -np.log(of_truth)])
    confidence = values[np.arange(len(y)), said]
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(np.intp) - 1, 0, CALIBRATION_BINS - 1)
    cell = group * CALIBRATION_BINS + bins
    binned = [
        np.bincount(cell, weights=weights, minlength=n_groups * CALIBRATION_BINS)
        for weights in (np.ones(len(y)), confidence, (said == y).astype(np.float64))
    ]
    ranked = (1,) if size == 2 else range(size)
    return Sums(
        classes=tuple(classes),
        confusion=confusion.reshape(n_groups, size, size).astype(np.float64),
        losses=np.stack([np.bincount(group, weights=row, minlength=n_groups) for row in loss], axis=1),
        bins=np.stack(binned).astype(np.float64).reshape(3, n_groups, CALIBRATION_BINS).transpose(1, 0, 2),
        wins=np.stack([_wins(y == k, values[:, k], group, n_groups) for k in ranked]),
    )


def _wins(positive: NDArray[np.bool_], values: Array, group: IntArray, n_groups: int) -> Array:
    """Count, by pair of groups, the pairs of rows that the positive one wins; shape (G, G)."""
    wins = np.zeros((n_groups, n_groups))
    others = np.flatnonzero(~positive)
    others = others[np.lexsort((values[others], group[others]))]
    ends = np.searchsorted(group[others], np.arange(n_groups + 1))
    for h in range(n_groups):
        rivals = values[others[ends[h] : ends[h + 1]]]
        if len(rivals):
            below = np.searchsorted(rivals, values[positive], "left")
            level = np.searchsorted(rivals, values[positive], "right")
            wins[:, h] = np.bincount(group[positive], weights=(below + level) / 2, minlength=n_groups)
    return wins


def evaluate(parts: Sums, weights: FloatArray | None = None) -> dict[str, Array]:
    """Compute every score for each of B weightings of the groups: arrays (B,) by name.

    `weights` says how often each group counts, shape (B, G); by default once each, B = 1.

    Names carry their averaging: ``f1_macro`` is the unweighted mean over classes, ``f1_weighted`` weights classes by
    their true share, ``f1[MWA]`` is of one class. For two classes ``sensitivity``, ``specificity`` and ``roc_auc`` are
    of the second class; for more, ``roc_auc_ovr_macro`` is the unweighted mean over classes of each against the rest.
    """
    w = np.ones((1, len(parts.losses))) if weights is None else np.asarray(weights, dtype=np.float64)
    size = len(parts.classes)
    confusion = (w @ parts.confusion.reshape(len(parts.losses), -1)).reshape(-1, size, size)
    scores = _from_confusion(confusion, parts.classes)
    scores |= _areas(parts, w)
    rows = confusion.sum(axis=(1, 2))
    losses = _ratio(w @ parts.losses, rows[:, None])
    binned = np.einsum("bg,gsm->bsm", w, parts.bins, optimize=True)
    gap = np.abs(binned[:, 2] - binned[:, 1]).sum(axis=1)
    return scores | {"brier": losses[:, 0], "log_loss": losses[:, 1], "ece": _ratio(gap, rows)}


def _from_confusion(confusion: Array, classes: tuple[str, ...]) -> dict[str, Array]:
    hits = np.einsum("bcc->bc", confusion)
    truth, said = confusion.sum(axis=2), confusion.sum(axis=1)
    total = truth.sum(axis=1, keepdims=True)
    by_class = {
        "precision": _ratio(hits, said),
        "recall": _ratio(hits, truth),
        "f1": np.where(truth > 0, _ratio(2 * hits, truth + said), np.nan),
    }
    specificity = _ratio(total - truth - said + hits, total - truth)
    share = _ratio(truth, total)
    scores = {"accuracy": _ratio(hits.sum(axis=1), total[:, 0]), "balanced_accuracy": by_class["recall"].mean(axis=1)}
    for name, values in by_class.items():
        scores[f"{name}_macro"] = values.mean(axis=1)
        # A class with no rows has no weight, so its NaN must not count.
        scores[f"{name}_weighted"] = (share * np.where(share > 0, values, 0.0)).sum(axis=1)
    for name, values in by_class.items():
        scores |= {f"{name}[{label}]": values[:, c] for c, label in enumerate(classes)}
    if len(classes) == 2:
        return scores | {"sensitivity": by_class["recall"][:, 1], "specificity": specificity[:, 1]}
    scores["specificity_macro"] = specificity.mean(axis=1)
    return scores | {f"specificity[{label}]": specificity[:, c] for c, label in enumerate(classes)}


def _areas(parts: Sums, w: Array) -> dict[str, Array]:
    two = len(parts.classes) == 2
    areas = []
    for k, wins in zip((1,) if two else range(len(parts.classes)), parts.wins, strict=True):
        positives = parts.confusion[:, k].sum(axis=1)
        negatives = parts.confusion.sum(axis=(1, 2)) - positives
        # Only groups with rows of the class against groups with others: a quarter of the product at two classes.
        a, b = positives > 0, negatives > 0
        won = np.einsum("bh,bh->b", w[:, a] @ wins[np.ix_(a, b)], w[:, b])
        areas.append(_ratio(won, (w @ positives) * (w @ negatives)))
    if two:
        return {"roc_auc": areas[0]}
    single = {f"roc_auc[{label}]": area for label, area in zip(parts.classes, areas, strict=True)}
    return {"roc_auc_ovr_macro": np.mean(areas, axis=0)} | single


def _ratio(above: Array, below: Array) -> Array:
    out: Array = np.full(np.broadcast(above, below).shape, np.nan)
    return np.divide(above, below, out=out, where=below > 0)


def score(y: IntArray, p: FloatArray, classes: Sequence[str], predicted: IntArray | None = None) -> dict[str, float]:
    """Compute every score of predictions (y (n,), p (n, C), predicted (n,)); names and NaN as in `evaluate`."""
    return {name: float(values[0]) for name, values in evaluate(sums(y, p, classes, predicted)).items()}


def confusion_matrix(y: IntArray, predicted: IntArray, n_classes: int) -> NDArray[np.int64]:
    """Count rows by true (first axis) and predicted class, shape (C, C)."""
    cells = np.bincount(np.asarray(y) * n_classes + np.asarray(predicted), minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes).astype(np.int64)


def family(name: str) -> str:
    """Return the key of `DEFINITIONS` that a score's name belongs to."""
    return next(key for key in sorted(DEFINITIONS, key=len, reverse=True) if name.startswith(key))


def averaging(name: str, classes: Sequence[str]) -> str:
    """Say how a score is averaged over classes, or whose it is."""
    if name.endswith("]"):
        return f"class {name[name.index('[') + 1 : -1]}"
    if name.endswith("_ovr_macro"):
        return "one class against the rest, unweighted mean over classes"
    if name.endswith("_macro") or name == "balanced_accuracy":
        return "unweighted mean over classes"
    if name.endswith("_weighted"):
        return "mean over classes weighted by their true share"
    if name in ("sensitivity", "specificity", "roc_auc"):
        return f"positive class {classes[1]}"
    return "all rows"


def why_undefined(confusion: NDArray[np.integer], classes: Sequence[str]) -> list[str]:
    """Say which classes leave scores of this confusion matrix (C, C) undefined, and which scores."""
    reasons = []
    for c, label in enumerate(classes):
        if not confusion[c].sum():
            reasons.append(f"Nobody is of class {label}: its recall, F1 and AUC, and their averages, are undefined.")
        if not confusion[:, c].sum():
            reasons.append(f"Class {label} was never predicted: its precision, and averages of it, are undefined.")
    return reasons


def aggregate_subjects(p_slices: FloatArray, vote: Literal["mean", "majority"] = "mean") -> Array:
    """Make a subject's probabilities (n, C) from those of its slices (n, S, C).

    ``mean`` is the mean over slices; ``majority`` the share of slices that vote for each class, each for its most
    probable one, where the mean probability counts as one vote more, which can break a tie and nothing else. A subject
    with a single slice keeps its probabilities either way. InputError for another shape, no slice or a probability that
    is not finite; UsageError for an unknown vote.
    """
    p: Array = np.asarray(p_slices, dtype=np.float64)
    if p.ndim != 3 or not p.shape[1] or not np.isfinite(p).all():
        raise InputError(f"Slice probabilities must be finite and of shape (subjects, slices, classes), not {p.shape}.")
    if vote not in ("mean", "majority"):
        raise UsageError(f"There is no vote {vote!r}; there are mean and majority.")
    mean: Array = p.mean(axis=1)
    if vote == "mean" or p.shape[1] == 1:
        return mean
    votes: Array = np.eye(p.shape[2])[p.argmax(axis=2)].sum(axis=1)
    shares: Array = (votes + mean) / (p.shape[1] + 1)
    return shares
