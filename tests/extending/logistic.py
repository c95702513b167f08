"""A worked example of an estimator from outside: logistic regression on the maps' means over regions.

The package around it is this module and a pyproject with an entry point:

    [project]
    name = "migxai-logistic"
    version = "1.0"
    dependencies = ["migxai"]

    [project.entry-points."migxai.estimators"]
    logistic = "logistic:ENTRY"

`migxai.learning.estimators.EstimatorEntry` describes each field. It is handed training subjects alone. What it has
learned is a dictionary of arrays, which is all that a saved model holds.
"""

from __future__ import annotations

from migxai.learning.estimators import EstimatorEntry


def make(settings, *, n_classes, seed):
    """Return an estimator that is not fitted yet."""
    import numpy as np
    from scipy.special import softmax
    from sklearn.linear_model import LogisticRegression

    from migxai.learning.estimators.table import TableClassifier, column_means, column_scales, standardised

    class Logistic(TableClassifier):
        fitted = ("mean", "scale", "coef", "intercept")

        def learn(self, values, labels):
            mean = column_means(values)
            scale = column_scales(values, mean)
            # A row of zeros for each class that no training subject has, and for the first of two.
            model = LogisticRegression(C=0.1, class_weight=self._class_weight, max_iter=1000)
            model.fit(standardised(values, mean, scale), labels)
            coef, intercept = np.zeros((self.n_classes, values.shape[1])), np.zeros(self.n_classes)
            rows = model.classes_[1:] if len(model.classes_) == 2 else model.classes_
            coef[rows], intercept[rows] = model.coef_, model.intercept_
            return {"mean": mean, "scale": scale, "coef": coef, "intercept": intercept}

        def classify(self, values):
            design = standardised(values, self._arrays["mean"], self._arrays["scale"])
            return softmax(design @ self._arrays["coef"].T + self._arrays["intercept"], axis=1)

    return Logistic(settings, n_classes=n_classes, seed=seed)


ENTRY = EstimatorEntry(
    name="logistic",
    title="Logistic regression",
    citation="Cox DR. The regression analysis of binary sequences. J R Stat Soc B 1958;20:215-242",
    make=make,
    tables=("regions",),
    fields=("class_weights",),
)
