"""The baseline that knows nothing but how frequent each class is."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from migxai.learning.estimators.baseline import Baseline
from migxai.metrics.types import FloatArray, IntArray


class Majority(Baseline):
    """Gives everybody the class frequencies of the training subjects.

    Its array is ``frequencies`` (C,). What it scores is what a model must beat: with unequal classes an accuracy well
    above 1 / C costs nothing.
    """

    reads: ClassVar[tuple[Literal["regions", "nuisance"], ...]] = ()
    options: ClassVar[tuple[str, ...]] = ()
    fitted: ClassVar[tuple[str, ...]] = ("frequencies",)

    def _learn(self, values: FloatArray, labels: IntArray) -> dict[str, FloatArray]:
        counts = np.bincount(labels, minlength=self.n_classes)
        return {"frequencies": counts / len(values)}

    def _classify(self, values: FloatArray) -> FloatArray:
        return np.tile(self._arrays["frequencies"], (len(values), 1))
