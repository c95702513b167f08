"""The classifiers of a table of subjects: class frequencies, nuisance columns, a support vector machine, a forest."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.special import expit, softmax

from migxai.learning.estimators import Table
from migxai.learning.tabular import (
    TableClassifier,
    classes_of,
    column_means,
    column_scales,
    filled,
    spread,
    standardised,
)
from migxai.metrics.types import FloatArray, IntArray

#: Inner folds that the sigmoid is fitted on, or fewer where the smallest class has fewer subjects.
_INNER_FOLDS = 5
#: The flattest sigmoid allowed, per unit of the decision value.
_FLATTEST = 0.1
#: Trees of a random forest.
_TREES = 500


class Majority(TableClassifier):
    """Gives everybody the class frequencies of the training subjects.

    Its array is ``frequencies`` (C,). What it scores is what a model must beat: with unequal classes an accuracy well
    above 1 / C costs nothing.
    """

    reads: ClassVar[tuple[Table, ...]] = ()
    fitted: ClassVar[tuple[str, ...]] = ("frequencies",)

    def learn(self, values: FloatArray, labels: IntArray) -> dict[str, FloatArray]:
        """Return the fitted arrays; see `TableClassifier.learn`."""
        counts = np.bincount(labels, minlength=self.n_classes)
        return {"frequencies": counts / len(values)}

    def classify(self, values: FloatArray) -> FloatArray:
        """Return probabilities (n, C); see `TableClassifier.classify`."""
        return np.tile(self._arrays["frequencies"], (len(values), 1))


class NuisanceOnly(TableClassifier):
    """Logistic regression with an L2 penalty (C = 1) on the standardised nuisance columns.

    Gaps are filled with the training subjects' mean; a column that is constant among them is dropped. If this does
    well, so can any model that has learned to read, say, motion from the maps.

    Its arrays are ``mean`` and ``scale`` (P,), ``coef`` (K, P) and ``intercept`` (K,) of a softmax over the K classes
    that the training subjects have, and those ``classes`` (K,).
    """

    reads: ClassVar[tuple[Table, ...]] = ("nuisance",)
    fitted: ClassVar[tuple[str, ...]] = ("mean", "scale", "coef", "intercept", "classes")

    def learn(self, values: FloatArray, labels: IntArray) -> dict[str, FloatArray]:
        """Return the fitted arrays; see `TableClassifier.learn`."""
        from sklearn.linear_model import LogisticRegression

        classes = classes_of(labels)
        mean = column_means(values)
        scale = column_scales(values, mean)
        kept = scale > 0
        # Without any column that varies the intercept is left, which a column of zeros stands for.
        design = standardised(values, mean, scale)[:, kept] if kept.any() else np.zeros((len(values), 1))
        model = LogisticRegression(C=1.0, class_weight=self._class_weight, tol=1e-8, max_iter=1000).fit(design, labels)
        # For two classes the library keeps the second one's log odds; the first one's row of the softmax is 0.
        pad = int(len(classes) == 2)
        coef = np.zeros((len(classes), values.shape[1]))
        if kept.any():
            coef[pad:, kept] = model.coef_
        intercept = np.concatenate([np.zeros(pad), model.intercept_])
        return {
            "mean": mean,
            "scale": scale,
            "coef": coef,
            "intercept": intercept,
            "classes": classes.astype(np.float64),
        }

    def classify(self, values: FloatArray) -> FloatArray:
        """Return probabilities (n, C); see `TableClassifier.classify`."""
        fitted = self._arrays
        design = standardised(values, fitted["mean"], fitted["scale"])
        scores = softmax(design @ fitted["coef"].T + fitted["intercept"], axis=1)
        return spread(scores, fitted["classes"], self.n_classes)


class LinearSVM(TableClassifier):
    """A linear support vector machine (C = 1) on the standardised regional means.

    Regions that a subject's map does not cover are filled with the training subjects' mean. With more than two classes
    each is told from all others together.

    Probabilities are Platt's sigmoid of the decision value, fitted on decision values that inner cross-validation of
    the training subjects gives; classes weigh in it as they do in the machine. If a class has fewer than two training
    subjects, that cannot be done and the sigmoid of slope 1 and offset 0 is used. With more than two classes the
    sigmoids are divided by their sum.

    A sigmoid never falls: where inner cross-validation is below chance, as half of all is where there is nothing to
    learn, Platt's would turn the machine's order round. Scores that rest on order are therefore those of the decision
    values.

    Its arrays are ``mean`` and ``scale`` (R,), ``coef`` (M, R), ``intercept``, ``slope`` and ``offset`` (M,), one row a
    machine (one machine for two classes, else one a class), and ``classes`` (K,), those that the training subjects
    have.

    References
    ----------
    Platt, "Probabilistic outputs for support vector machines", in Advances in Large Margin Classifiers, MIT Press,
    1999.
    """

    reads: ClassVar[tuple[Table, ...]] = ("regions",)
    fitted: ClassVar[tuple[str, ...]] = ("mean", "scale", "coef", "intercept", "slope", "offset", "classes")

    def learn(self, values: FloatArray, labels: IntArray) -> dict[str, FloatArray]:
        """Return the fitted arrays; see `TableClassifier.learn`."""
        classes = classes_of(labels)
        positives = classes[1:] if len(classes) == 2 else classes
        targets = labels[:, np.newaxis] == positives
        machines = self._machines(values, targets)
        slope, offset = np.ones(len(positives)), np.zeros(len(positives))
        folds = min(_INNER_FOLDS, int(np.bincount(labels)[classes].min()))
        if folds >= 2:
            decisions = self._inner_decisions(values, labels, targets, folds)
            for column in range(len(positives)):
                weights = balanced(targets[:, column]) if self._class_weight else np.ones(len(labels))
                slope[column], offset[column] = sigmoid(decisions[:, column], targets[:, column], weights)
        return {**machines, "slope": slope, "offset": offset, "classes": classes.astype(np.float64)}

    def classify(self, values: FloatArray) -> FloatArray:
        """Return probabilities (n, C); see `TableClassifier.classify`."""
        fitted = self._arrays
        chances = expit(_decisions(fitted, values) * fitted["slope"] + fitted["offset"])
        if len(fitted["classes"]) == 2:
            chances = np.concatenate([1 - chances, chances], axis=1)
        return spread(chances / chances.sum(axis=1, keepdims=True), fitted["classes"], self.n_classes)

    def _machines(self, values: FloatArray, targets: FloatArray | Any) -> dict[str, FloatArray]:
        """Fit a machine for each column of targets (n, M), with the scaling that it needs."""
        from sklearn.svm import SVC

        mean = column_means(values)
        scale = column_scales(values, mean)
        design = standardised(values, mean, scale)
        machines = [SVC(kernel="linear", C=1.0, class_weight=self._class_weight).fit(design, t) for t in targets.T]
        return {
            "mean": mean,
            "scale": scale,
            "coef": np.concatenate([machine.coef_ for machine in machines]),
            "intercept": np.concatenate([machine.intercept_ for machine in machines]),
        }

    def _inner_decisions(self, values: FloatArray, labels: IntArray, targets: Any, folds: int) -> FloatArray:
        """Decision values (n, M) of training subjects by machines, and scalings, that were not fitted on them."""
        from sklearn.model_selection import StratifiedKFold

        decisions = np.zeros(targets.shape)
        for train, test in StratifiedKFold(folds, shuffle=True, random_state=self.seed).split(values, labels):
            decisions[test] = _decisions(self._machines(values[train], targets[train]), values[test])
        return decisions


def _decisions(machines: dict[str, FloatArray], values: FloatArray) -> FloatArray:
    design = standardised(values, machines["mean"], machines["scale"])
    return design @ machines["coef"].T + machines["intercept"]


def balanced(positive: Any) -> FloatArray:
    """Weights (n,) that give both classes of a boolean target (n,) the same sum, n / 2."""
    count = np.count_nonzero(positive)
    return np.where(positive, len(positive) / (2 * count), len(positive) / (2 * (len(positive) - count)))


def sigmoid(decisions: FloatArray, positive: Any, weights: FloatArray) -> tuple[float, float]:
    """Fit Platt's sigmoid 1 / (1 + exp(-(slope f + offset))) by maximum likelihood.

    The targets are Platt's, (n+ + 1) / (n+ + 2) and 1 / (n- + 2), with weighted counts; the slope is kept above 0.

    Parameters
    ----------
    decisions
        Decision values f (n,) of subjects that the machine was not fitted on.
    positive
        Whether each is of the positive class (n,), boolean.
    weights
        Weight of each (n,).

    Returns
    -------
    slope, offset
    """
    from scipy.optimize import minimize

    above, below = weights[positive].sum(), weights[~positive].sum()
    wanted = np.where(positive, (above + 1) / (above + 2), 1 / (below + 2))

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        linear = parameters[0] * decisions + parameters[1]
        error = weights * (expit(linear) - wanted)
        value = (weights * (np.logaddexp(0, linear) - wanted * linear)).sum()
        return float(value), np.array([error @ decisions, error.sum()])

    start = np.array([_FLATTEST, np.log((above + 1) / (below + 1))])
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[(_FLATTEST, None), (None, None)], options={"gtol": 1e-8}
    )
    return float(found.x[0]), float(found.x[1])


class RandomForest(TableClassifier):
    """A forest of 500 trees on the regional means.

    Regions that a subject's map does not cover are filled with the training subjects' mean.

    Its arrays are ``mean`` (R,) and, for T trees padded to the J nodes of the largest, ``left``, ``right`` (children;
    -1 at a leaf), ``feature`` and ``threshold`` (T, J) and ``value`` (T, J, K), the shares of the K ``classes`` that
    the training subjects have. Whole numbers are kept as floats, exact up to 2^24.
    """

    reads: ClassVar[tuple[Table, ...]] = ("regions",)
    fitted: ClassVar[tuple[str, ...]] = ("mean", "left", "right", "feature", "threshold", "value", "classes")

    def learn(self, values: FloatArray, labels: IntArray) -> dict[str, FloatArray]:
        """Return the fitted arrays; see `TableClassifier.learn`."""
        from sklearn.ensemble import RandomForestClassifier

        classes = classes_of(labels)
        mean = column_means(values)
        forest = RandomForestClassifier(_TREES, class_weight=self._class_weight, random_state=self.seed, n_jobs=1).fit(
            filled(values, mean), labels
        )
        trees = [tree.tree_ for tree in forest.estimators_]
        return {
            "mean": mean,
            "left": _padded([tree.children_left for tree in trees], -1, np.float32),
            "right": _padded([tree.children_right for tree in trees], -1, np.float32),
            "feature": _padded([tree.feature.clip(min=0) for tree in trees], 0, np.float32),
            "threshold": _padded([tree.threshold for tree in trees], 0, np.float64),
            "value": _padded([tree.value[:, 0, :] for tree in trees], 0, np.float64),
            "classes": classes.astype(np.float64),
        }

    def classify(self, values: FloatArray) -> FloatArray:
        """Return probabilities (n, C); see `TableClassifier.classify`."""
        fitted = self._arrays
        left, right, feature = (fitted[name].astype(np.intp) for name in ("left", "right", "feature"))
        # The library's trees read single precision and hold thresholds in double.
        columns = filled(values, fitted["mean"]).astype(np.float32)
        subject = np.arange(len(columns))[:, np.newaxis]
        tree = np.arange(len(left))
        node = np.zeros((len(columns), len(left)), dtype=np.intp)
        while (inner := left[tree, node] >= 0).any():
            goes_left = columns[subject, feature[tree, node]] <= fitted["threshold"][tree, node]
            below = np.where(goes_left, left[tree, node], right[tree, node])
            node = np.where(inner, below, node)
        return spread(fitted["value"][tree, node].mean(axis=1), fitted["classes"], self.n_classes)


def _padded(arrays: list[Any], fill: float, dtype: type[np.floating[Any]]) -> FloatArray:
    """Stack arrays (J_t, ...) of different lengths as (T, J, ...)."""
    longest = max(len(array) for array in arrays)
    stacked = np.full((len(arrays), longest, *arrays[0].shape[1:]), fill, dtype=dtype)
    for place, array in enumerate(arrays):
        stacked[place, : len(array)] = array
    return stacked
