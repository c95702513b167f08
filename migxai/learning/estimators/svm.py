"""A linear support vector machine on regional means."""

from migxai.config import Learning
from migxai.learning.estimators import Estimator, EstimatorEntry


def _make(settings: Learning, *, n_classes: int, seed: int) -> Estimator:
    from migxai.learning.tabular_classifiers import LinearSVM

    return LinearSVM(settings, n_classes=n_classes, seed=seed)


ENTRY = EstimatorEntry(name="svm", title="SVM", citation="cortes1995", order=10, make=_make, fields=("class_weights",))
