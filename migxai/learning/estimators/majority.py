"""The baseline that knows nothing but how frequent each class is."""

from migxai.config import Learning
from migxai.learning.estimators import Estimator, EstimatorEntry


def _make(settings: Learning, *, n_classes: int, seed: int) -> Estimator:
    from migxai.learning.tabular_classifiers import Majority

    return Majority(settings, n_classes=n_classes, seed=seed)


ENTRY = EstimatorEntry(name="majority", title="Majority class", order=80, make=_make, tables=(), always=True)
