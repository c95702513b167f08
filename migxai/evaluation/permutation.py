"""Permutation tests: what the same procedure scores where labels say nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from migxai.config import Learning
from migxai.errors import InputError
from migxai.learning.crossval import FoldResult, run_fold
from migxai.learning.feature_store import ModelInputs
from migxai.learning.splits import Fold
from migxai.metrics.scores import aggregate_subjects, score
from migxai.metrics.types import FloatArray, IntArray

#: The scores of `cross_validated_scores`, in order.
SCORES = ("roc_auc", "balanced_accuracy")

#: Scores this close are equal: the same predictions may be summed in another order.
_TIE = 1e-9


def permuted_orders(
    n: int, numbers: Iterable[int], *, seed: int, strata: Sequence[str] | IntArray | None = None
) -> Iterable[IntArray]:
    """Yield permutations (n,) of n places, each determined by the seed and its number alone.

    Those of one test can so be divided over processes, by `numbers`. With `strata` (n,), such as sites, places are
    permuted among those of one stratum only.
    """
    of = np.zeros(n, dtype=np.int64) if strata is None else np.unique(np.asarray(strata), return_inverse=True)[1]
    members = [np.flatnonzero(of == stratum) for stratum in np.unique(of)]
    for number in numbers:
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
        order = np.arange(n)
        for places in members:
            order[places] = rng.permutation(places)
        yield order


def permuted_scores(
    estimator_name: str,
    inputs: ModelInputs,
    labels: IntArray,
    folds: Sequence[Fold],
    settings: Learning,
    *,
    classes: Sequence[str],
    numbers: Iterable[int],
    seed: int,
    people: IntArray | None = None,
    strata: Sequence[str] | None = None,
    watch: Callable[[Fold, FoldResult], None] | None = None,
) -> FloatArray:
    """Repeat a whole cross-validation with permuted labels: `SCORES` of each permutation, shape (P, 2).

    A person takes over label and place in the folds of another one together. So every permutation has the class counts
    in every fold that the true labels have; with folds that stayed where they are it would not, and its scores would
    have another distribution than the one that the observed score is drawn from.

    Arguments are those of `migxai.learning.crossval.run_fold`, with the folds of one trial or of several, and the seed
    of the cross-validation whose score is reported. `numbers` says which permutations: those of one test can be divided
    over processes. `strata` (n,) holds the site of each person; leave-one-site-out needs it, since labels are
    exchangeable within sites only. `watch` is shown each fold and what it gave, one permutation after the other.
    InputError if no permutation can change a label.
    """
    require_exchange(np.asarray(labels), strata)
    rows = np.arange(len(labels)) if people is None else people
    orders = permuted_orders(len(rows), numbers, seed=seed, strata=strata)
    of_each = [
        cross_validated_scores(
            estimator_name, inputs, labels, folds, settings, classes=classes, seed=seed, people=rows[order], watch=watch
        )
        for order in orders
    ]
    return np.array(of_each)


def cross_validated_scores(
    estimator_name: str,
    inputs: ModelInputs,
    labels: IntArray,
    folds: Sequence[Fold],
    settings: Learning,
    *,
    classes: Sequence[str],
    seed: int,
    people: IntArray | None = None,
    watch: Callable[[Fold, FoldResult], None] | None = None,
) -> FloatArray:
    """Score a cross-validation (as of `permuted_scores`) at the level of subjects: `SCORES`, averaged over trials.

    Each is of all test subjects of a trial together; of more than two classes, the area is each class's against the
    rest, averaged over classes.
    """
    of_trials = []
    for trial in sorted({fold.trial for fold in folds}):
        places, probabilities = [], []
        for fold in folds:
            if fold.trial == trial:
                result = run_fold(
                    estimator_name, inputs, labels, fold, classes=classes, settings=settings, seed=seed, people=people
                )
                if watch is not None:
                    watch(fold, result)
                places.append(fold.test)
                probabilities.append(aggregate_subjects(result.probabilities, settings.vote))
        of_trials.append(
            pooled_scores(np.asarray(labels)[np.concatenate(places)], np.concatenate(probabilities), classes)
        )
    mean: FloatArray = np.mean(of_trials, axis=0)
    return mean


def pooled_scores(labels: IntArray, probabilities: FloatArray, classes: Sequence[str]) -> list[float]:
    """Compute `SCORES` of subjects, (n,) and (n, C)."""
    found = score(labels, probabilities, classes)
    area = found["roc_auc"] if len(classes) == 2 else found["roc_auc_ovr_macro"]
    return [float(area), float(found["balanced_accuracy"])]


def permutation_p_value(observed: float, null: FloatArray) -> float:
    """Return p of a score among those of permuted labels, (P,): (1 + #{null >= observed}) / (P + 1).

    Counting the observed labels as one of the permutations keeps the test exact (Phipson and Smyth, Stat Appl Genet Mol
    Biol 9:39, 2010). InputError if a score is NaN.
    """
    if np.isnan(observed) or np.isnan(null).any():
        raise InputError("A permutation test's score is undefined (NaN) for some labels; use another score or folds.")
    return (1 + int((null >= observed - _TIE).sum())) / (len(null) + 1)


def require_exchange(labels: IntArray, strata: Sequence[str] | IntArray | None) -> None:
    """Refuse strata within which everybody has the same label: every permutation would be the observed one."""
    of = np.zeros(len(labels), dtype=np.int64) if strata is None else np.asarray(strata)
    if all(len(np.unique(labels[of == stratum])) == 1 for stratum in np.unique(of)):
        raise InputError(
            "Labels cannot be permuted: within every site all people are of one class, so nothing tells class and site "
            "apart."
        )
