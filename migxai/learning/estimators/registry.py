"""The classifiers by name; a new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Literal

from migxai.config import Learning
from migxai.errors import UsageError
from migxai.learning.backbones import BACKBONES, is_backbone
from migxai.learning.estimators.base import Estimator
from migxai.learning.estimators.baseline import Baseline
from migxai.learning.estimators.forest import RandomForest
from migxai.learning.estimators.majority import Majority
from migxai.learning.estimators.nuisance import NuisanceOnly
from migxai.learning.estimators.svm import LinearSVM

#: What makes an estimator that is not fitted yet: ``Factory(settings, n_classes=C, seed=seed)``.
Factory = type[Baseline]

ESTIMATORS: dict[str, Factory] = {
    "svm": LinearSVM,
    "rf": RandomForest,
    "majority": Majority,
    "nuisance": NuisanceOnly,
}

#: The fields of `Learning` that change what a network learns from a given store of features.
_NETWORK_OPTIONS = (
    "unfreeze",
    "dropout",
    "epochs",
    "batch_size",
    "learning_rate",
    "momentum",
    "weight_decay",
    "class_weights",
    "epoch_choice",
    "feature_norm",
)


def make_estimator(name: str, settings: Learning, *, n_classes: int, seed: int) -> Estimator:
    """Make an estimator that is not fitted yet.

    Parameters
    ----------
    name
        A key of `ESTIMATORS` or the name of a network.
    settings
        All options; it takes those that concern it.
    n_classes
        Number of classes, C.
    seed
        Of everything random in it.

    Raises
    ------
    UsageError
        If there is no such model.
    """
    if name in ESTIMATORS:
        return ESTIMATORS[name](settings, n_classes=n_classes, seed=seed)
    check_models([name])
    from migxai.learning.estimators.deep import DeepEstimator

    return DeepEstimator(name, settings, n_classes=n_classes, seed=seed)


def is_deep(name: str) -> bool:
    """Say whether a model is a network on slices, which needs the store of frozen features."""
    return name not in ESTIMATORS and is_backbone(name)


def options_of(name: str) -> tuple[str, ...]:
    """Return the fields of `Learning` that change what a model learns from given inputs."""
    return ESTIMATORS[name].options if name in ESTIMATORS else _NETWORK_OPTIONS


def tables_of(name: str) -> tuple[Literal["regions", "nuisance"], ...]:
    """Return the tables of `Inputs` that a model reads; a network reads the store alone."""
    return ESTIMATORS[name].reads if name in ESTIMATORS else ()


def check_models(names: Sequence[str]) -> tuple[str, ...]:
    """Check the names of models before anything heavy is imported.

    Parameters
    ----------
    names
        As given by the user.

    Returns
    -------
    tuple
        The names in their order, each once.

    Raises
    ------
    UsageError
        If there is no such model, or none is named.
    """
    if not names:
        raise UsageError("No model is named; give at least one with --models.")
    for name in names:
        if name not in ESTIMATORS and not is_deep(name):
            known = [*BACKBONES, *ESTIMATORS]
            close = get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise UsageError(f"There is no model {name!r}; there are {', '.join(known)} and timm:NAME.{hint}")
    return tuple(dict.fromkeys(names))
