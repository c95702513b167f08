"""The models by name: entries of estimators that read tables of subjects, and networks, which read slices.

Imports neither numpy nor torch by itself. A new estimator is one module with an `ENTRY`, here or in another package
(entry points ``migxai.estimators``); networks have a registry of their own, `migxai.learning.backbones.NETWORKS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, Protocol, Self

from migxai.errors import UsageError
from migxai.learning.backbones import NETWORKS
from migxai.registry import Entry, Registry

if TYPE_CHECKING:
    from migxai.config import Learning
    from migxai.learning.feature_store import ModelInputs
    from migxai.metrics.types import FloatArray, IntArray

Table = Literal["regions", "nuisance"]

__all__ = [
    "ESTIMATORS",
    "Estimator",
    "EstimatorEntry",
    "baselines",
    "check_models",
    "is_deep",
    "make_estimator",
    "model_titles",
    "options_of",
    "origin_of",
    "tables_of",
]


class Estimator(Protocol):
    """A classifier of subjects.

    Attributes
    ----------
    level
        Whether probabilities are made for each ``slice`` or for each ``subject`` at once.
    """

    level: Literal["slice", "subject"]

    def fit(self, inputs: ModelInputs, rows: IntArray, labels: IntArray) -> Self:
        """Learn from some subjects.

        Parameters
        ----------
        inputs
            Tables of subjects; cross-validation hands over those of the training subjects alone.
        rows
            The subjects to learn from, shape (n,); nothing of any other may be read.
        labels
            Their classes, 0 to C - 1, shape (n,).
        """
        ...

    def predict(self, inputs: ModelInputs, rows: IntArray) -> FloatArray:
        """Return class probabilities, shape (n, S, C); S is 1 at level ``subject``, else the number of slices."""
        ...

    def tensors(self) -> dict[str, FloatArray]:
        """Return what was fitted, as named arrays."""
        ...

    def restore(self, tensors: dict[str, FloatArray]) -> Self:
        """Take on what `tensors` of a fitted estimator returned."""
        ...


class _Maker(Protocol):
    def __call__(self, settings: Learning, *, n_classes: int, seed: int) -> Estimator: ...


@dataclass(frozen=True, kw_only=True)
class EstimatorEntry(Entry):
    """An estimator of subjects by name.

    Attributes
    ----------
    make
        Returns an estimator that is not fitted yet; only this imports what it computes with.
        `migxai.learning.estimators.table.TableClassifier` is a base class that does all but the learning.
    tables
        The tables of `ModelInputs` whose columns it reads.
    fields
        The fields of `migxai.config.Learning` that change what it learns.
    always
        Whether it is a baseline that runs beside whatever models are asked for, and is never saved.
    """

    make: _Maker
    tables: tuple[Table, ...] = ("regions",)
    fields: tuple[str, ...] = ()
    always: bool = False


ESTIMATORS: Registry[EstimatorEntry] = Registry("estimator", EstimatorEntry, package=__name__, group="estimators")

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
    """Make an estimator, or a network by name, that is not fitted yet; UsageError if there is no such model.

    It takes of all options those that concern it; `seed` is that of everything random in it.
    """
    if name in ESTIMATORS:
        return ESTIMATORS[name].make(settings, n_classes=n_classes, seed=seed)
    check_models([name])
    from migxai.learning.training import DeepEstimator

    return DeepEstimator(name, settings, n_classes=n_classes, seed=seed)


def is_deep(name: str) -> bool:
    """Say whether a model is a network on slices, which needs the store of frozen features."""
    return name not in ESTIMATORS and name in NETWORKS


def options_of(name: str) -> tuple[str, ...]:
    """Return the fields of `Learning` that change what a model learns from given inputs."""
    return ESTIMATORS[name].fields if name in ESTIMATORS else _NETWORK_OPTIONS


def tables_of(name: str) -> tuple[Table, ...]:
    """Return the tables of `ModelInputs` that a model reads; a network reads the store alone."""
    return ESTIMATORS[name].tables if name in ESTIMATORS else ()


def baselines() -> tuple[str, ...]:
    """Return the estimators that run beside whatever models are asked for."""
    return tuple(name for name, entry in ESTIMATORS.items() if entry.always)


def model_titles() -> dict[str, str]:
    """Return how models are called in reports, by name and in the order in which reports list them."""
    return {name: entry.title for registry in (NETWORKS, ESTIMATORS) for name, entry in registry.items()}


def origin_of(model: str) -> str:
    """Return name and version of the package that brought a model; empty for those of migxai."""
    return next((registry[model].origin for registry in (ESTIMATORS, NETWORKS) if model in registry), "")


def check_models(names: Sequence[str]) -> tuple[str, ...]:
    """Check the names of models before anything heavy is imported; return each once, in their order.

    UsageError if there is no such model, or none is named.
    """
    if not names:
        raise UsageError("No model is named; give at least one with --models.")
    for name in names:
        if name not in ESTIMATORS and name not in NETWORKS:
            known = [*NETWORKS, *ESTIMATORS]
            close = get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise UsageError(f"There is no model {name!r}; there are {', '.join(known)} and timm:NAME.{hint}")
    return tuple(dict.fromkeys(names))
