"""The baseline that reads what no classifier of migraine should live on: motion, coverage, age, sex and site."""

from migxai.config import Learning
from migxai.learning.estimators import Estimator, EstimatorEntry


def _make(settings: Learning, *, n_classes: int, seed: int) -> Estimator:
    from migxai.learning.tabular_classifiers import NuisanceOnly

    return NuisanceOnly(settings, n_classes=n_classes, seed=seed)


ENTRY = EstimatorEntry(
    name="nuisance",
    title="Nuisance only",
    order=90,
    make=_make,
    tables=("nuisance",),
    fields=("class_weights",),
    always=True,
)
