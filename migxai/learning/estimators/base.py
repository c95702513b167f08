"""The protocol that every classifier follows, deep or not."""

from __future__ import annotations

from typing import Literal, Protocol, Self

from migxai.learning.types import Inputs
from migxai.metrics.types import FloatArray, IntArray


class Estimator(Protocol):
    """A classifier of subjects.

    Attributes
    ----------
    level
        Whether probabilities are made for each ``slice`` or for each ``subject`` at once.
    """

    level: Literal["slice", "subject"]

    def fit(self, inputs: Inputs, rows: IntArray, labels: IntArray) -> Self:
        """Learn from some subjects.

        Parameters
        ----------
        inputs
            Of the whole cohort.
        rows
            The subjects to learn from, shape (n,); nothing of any other may be read.
        labels
            Their classes, 0 to C - 1, shape (n,).
        """
        ...

    def predict(self, inputs: Inputs, rows: IntArray) -> FloatArray:
        """Return class probabilities, shape (n, S, C); S is 1 at level ``subject``, else the number of slices."""
        ...

    def tensors(self) -> dict[str, FloatArray]:
        """Return what was fitted, as named arrays."""
        ...

    def restore(self, tensors: dict[str, FloatArray]) -> Self:
        """Take on what `tensors` of a fitted estimator returned."""
        ...
