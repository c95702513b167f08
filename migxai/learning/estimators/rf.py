"""A random forest on regional means."""

from migxai.config import Learning
from migxai.learning.estimators import Estimator, EstimatorEntry


def _make(settings: Learning, *, n_classes: int, seed: int) -> Estimator:
    from migxai.learning.tabular_classifiers import RandomForest

    return RandomForest(settings, n_classes=n_classes, seed=seed)


ENTRY = EstimatorEntry(
    name="rf", title="Random forest", citation="breiman2001", order=20, make=_make, fields=("class_weights",)
)
