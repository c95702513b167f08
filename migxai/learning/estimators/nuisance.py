"""The baseline that reads what no classifier of migraine should live on: motion, coverage, age, sex and site."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

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
        import numpy as np
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
        arrays = (mean, scale, coef, intercept, classes.astype(np.float64))
        return dict(zip(self.fitted, arrays, strict=True))

    def classify(self, values: FloatArray) -> FloatArray:
        """Return probabilities (n, C); see `TableClassifier.classify`."""
        from scipy.special import softmax

        fitted = self._arrays
        design = standardised(values, fitted["mean"], fitted["scale"])
        scores = softmax(design @ fitted["coef"].T + fitted["intercept"], axis=1)
        return spread(scores, fitted["classes"], self.n_classes)


ENTRY = EstimatorEntry(
    name="nuisance",
    title="Nuisance only",
    order=90,
    make=NuisanceOnly,
    tables=NuisanceOnly.reads,
    fields=("class_weights",),
    always=True,
)
