"""A linear support vector machine on regional means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from migxai.learning.estimators import EstimatorEntry, Table
from migxai.learning.estimators.table import (
    TableClassifier,
    classes_of,
    column_means,
    column_scales,
    spread,
    standardised,
)

if TYPE_CHECKING:
    from migxai.metrics.types import FloatArray, IntArray

#: Inner folds that the sigmoid is fitted on, or fewer where the smallest class has fewer subjects.
_INNER_FOLDS = 5
#: The flattest sigmoid allowed, per unit of the decision value.
_FLATTEST = 0.1


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
        import numpy as np

        classes = classes_of(labels)
        positives = classes[1:] if len(classes) == 2 else classes
        targets = labels[:, None] == positives
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
        import numpy as np
        from scipy.special import expit

        fitted = self._arrays
        chances = expit(_decisions(fitted, values) * fitted["slope"] + fitted["offset"])
        if len(fitted["classes"]) == 2:
            chances = np.concatenate([1 - chances, chances], axis=1)
        return spread(chances / chances.sum(axis=1, keepdims=True), fitted["classes"], self.n_classes)

    def _machines(self, values: FloatArray, targets: FloatArray | Any) -> dict[str, FloatArray]:
        """Fit a machine for each column of targets (n, M), with the scaling that it needs."""
        import numpy as np
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
        import numpy as np
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
    import numpy as np

    count = np.count_nonzero(positive)
    return np.where(positive, len(positive) / (2 * count), len(positive) / (2 * (len(positive) - count)))


def sigmoid(decisions: FloatArray, positive: Any, weights: FloatArray) -> tuple[float, float]:
    """Fit slope and offset of Platt's sigmoid 1 / (1 + exp(-(slope f + offset))) by maximum likelihood.

    Decision values f (n,) are of subjects that the machine was not fitted on; `positive` (n,) is boolean. The targets
    are Platt's, (n+ + 1) / (n+ + 2) and 1 / (n- + 2), with weighted counts; the slope is kept above 0.
    """
    import numpy as np
    from scipy.optimize import minimize
    from scipy.special import expit

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


ENTRY = EstimatorEntry(
    name="svm", title="SVM", citation="cortes1995", order=10, make=LinearSVM, fields=("class_weights",)
)
