"""The baseline that knows nothing but how frequent each class is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from migxai.learning.estimators import EstimatorEntry, Table
from migxai.learning.estimators.table import TableClassifier

if TYPE_CHECKING:
    from migxai.metrics.types import FloatArray, IntArray


class Majority(TableClassifier):
    """Gives everybody the class frequencies of the training subjects.

    Its array is ``frequencies`` (C,). What it scores is what a model must beat: with unequal classes an accuracy well
    above 1 / C costs nothing.
    """

    reads: ClassVar[tuple[Table, ...]] = ()
    fitted: ClassVar[tuple[str, ...]] = ("frequencies",)

    def learn(self, values: FloatArray, labels: IntArray) -> dict[str, FloatArray]:
        """Return the fitted arrays; see `TableClassifier.learn`."""
        import numpy as np

        counts = np.bincount(labels, minlength=self.n_classes)
        return {"frequencies": counts / len(values)}

    def classify(self, values: FloatArray) -> FloatArray:
        """Return probabilities (n, C); see `TableClassifier.classify`."""
        import numpy as np

        return np.tile(self._arrays["frequencies"], (len(values), 1))


ENTRY = EstimatorEntry(
    name="majority", title="Majority class", order=80, make=Majority, tables=Majority.reads, always=True
)
