"""What classifiers of a table of subjects share: they are their arrays, and training subjects alone fill gaps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from migxai.config import Learning
from migxai.errors import InputError
from migxai.learning.estimators import Table

if TYPE_CHECKING:
    from migxai.learning.feature_store import ModelInputs
    from migxai.metrics.types import FloatArray, IntArray

#: A standard deviation below this share of the mean is the rounding error of a constant column.
_CONSTANT = 1e-10


class TableClassifier(ABC):
    """A classifier of subjects by a few columns, following `migxai.learning.estimators.Estimator`.

    What is fitted is a dictionary of arrays and nothing else, so that a saved model holds no object of a library. A
    subclass learns from and classifies rows that it is handed; it never sees the table of the whole cohort.

    Attributes
    ----------
    reads
        The tables of `ModelInputs` whose columns, side by side, it reads.
    fitted
        The names of the arrays it is made of.
    """

    level: Literal["slice", "subject"] = "subject"
    reads: ClassVar[tuple[Table, ...]] = ("regions",)
    fitted: ClassVar[tuple[str, ...]]

    def __init__(self, settings: Learning, *, n_classes: int, seed: int) -> None:
        self.settings = settings
        self.n_classes = n_classes
        self.seed = seed
        self._arrays: dict[str, FloatArray] = {}

    def fit(self, inputs: ModelInputs, rows: IntArray, labels: IntArray) -> Self:
        """Learn from the subjects `rows` (n,) with the classes `labels` (n,), 0 to C - 1.

        InputError if they are of one class only, or a number of theirs is infinite.
        """
        self._arrays = self.learn(self._columns(inputs, rows), labels)
        return self

    def predict(self, inputs: ModelInputs, rows: IntArray) -> FloatArray:
        """Return class probabilities (n, 1, C) of the subjects `rows`; InputError if a number of theirs is infinite."""
        return self.classify(self._columns(inputs, rows))[:, None, :]

    def tensors(self) -> dict[str, FloatArray]:
        """Return what was fitted, as named arrays."""
        return dict(self._arrays)

    def restore(self, tensors: dict[str, FloatArray]) -> Self:
        """Take on what `tensors` of a fitted estimator returned; InputError if an array is missing."""
        missing = [name for name in self.fitted if name not in tensors]
        if missing:
            raise InputError(f"A saved model of this kind needs the array {missing[0]!r}, which is not there.")
        self._arrays = {name: tensors[name] for name in self.fitted}
        return self

    @property
    def _class_weight(self) -> Literal["balanced"] | None:
        return "balanced" if self.settings.class_weights == "balanced" else None

    def _columns(self, inputs: ModelInputs, rows: IntArray) -> FloatArray:
        import numpy as np

        empty = np.zeros((len(rows), 0))
        values = np.concatenate([empty, *(np.asarray(getattr(inputs, table))[rows] for table in self.reads)], axis=1)
        infinite = np.isinf(values).any(axis=1)
        if infinite.any():
            subject = inputs.subjects[rows[int(infinite.argmax())]]
            raise InputError(f"The {' or '.join(self.reads)} table of {subject} holds an infinite number; see its map.")
        return values

    @abstractmethod
    def learn(self, values: FloatArray, labels: IntArray) -> dict[str, FloatArray]:
        """Return the fitted arrays for training subjects (n, P) with classes (n,)."""

    @abstractmethod
    def classify(self, values: FloatArray) -> FloatArray:
        """Return probabilities (n, C) of subjects (n, P)."""


def classes_of(labels: IntArray) -> IntArray:
    """Return the classes that training subjects have, ascending; InputError if there are fewer than two.

    A class may be absent from one training set (a site left out may be the only one that has it); its probability is
    then 0.
    """
    import numpy as np

    present: IntArray = np.unique(labels)
    if len(present) < 2:
        raise InputError(
            "All training subjects of a fold are of one class, so there is nothing to tell apart; use other folds "
            "(--cv, --folds) or another comparison."
        )
    return present


def spread(probabilities: FloatArray, present: FloatArray, n_classes: int) -> FloatArray:
    """Put the probabilities (n, K) of the classes that were trained on into their columns of all classes (n, C)."""
    import numpy as np

    full = np.zeros((len(probabilities), n_classes))
    full[:, present.astype(np.intp)] = probabilities
    return full


def column_means(values: FloatArray) -> FloatArray:
    """Return the mean (P,) of each column's numbers in training subjects (n, P), to fill its gaps (NaN) with.

    It is 0 for a column without any number.
    """
    import numpy as np

    known = ~np.isnan(values)
    sums, counts = np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0)
    means: FloatArray = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    return means


def filled(values: FloatArray, means: FloatArray) -> FloatArray:
    """Replace NaN in (n, P) by the column's mean (P,)."""
    import numpy as np

    return np.where(np.isnan(values), means, values)


def column_scales(values: FloatArray, means: FloatArray) -> FloatArray:
    """Return the standard deviation (P,), divisor n, of columns (n, P) whose gaps their `column_means` fill.

    It is 0 for a column that is constant, which `standardised` drops.
    """
    import numpy as np

    complete = filled(values, means)
    scales = complete.std(axis=0)
    return np.where(scales > _CONSTANT * np.abs(means), scales, 0.0)


def standardised(values: FloatArray, means: FloatArray, scales: FloatArray) -> FloatArray:
    """Fill gaps of any subjects (n, P), subtract means and divide by scales (P,) of the training subjects.

    A column whose scale is 0 becomes 0 for everybody; all is finite.
    """
    import numpy as np

    centred = filled(values, means) - means
    return np.divide(centred, scales, out=np.zeros_like(centred), where=scales > 0)
