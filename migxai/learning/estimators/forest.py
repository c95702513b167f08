"""A random forest on regional means, kept as arrays."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from migxai.learning.estimators.baseline import Baseline, classes_of, spread
from migxai.learning.estimators.preparing import column_means, filled
from migxai.metrics.types import FloatArray, IntArray

_TREES = 500


class RandomForest(Baseline):
    """A forest of 500 trees on the regional means.

    Regions that a subject's map does not cover are filled with the training subjects' mean.

    Its arrays are ``mean`` (R,) and, for T trees padded to the J nodes of the largest, ``left``, ``right`` (children;
    -1 at a leaf), ``feature`` and ``threshold`` (T, J) and ``value`` (T, J, K), the shares of the K ``classes`` that
    the training subjects have. Whole numbers are kept as floats, exact up to 2^24.
    """

    reads: ClassVar[tuple[Literal["regions", "nuisance"], ...]] = ("regions",)
    options: ClassVar[tuple[str, ...]] = ("class_weights",)
    fitted: ClassVar[tuple[str, ...]] = ("mean", "left", "right", "feature", "threshold", "value", "classes")

    def _learn(self, values: FloatArray, labels: IntArray) -> dict[str, FloatArray]:
        from sklearn.ensemble import RandomForestClassifier

        classes = classes_of(labels)
        mean = column_means(values)
        forest = RandomForestClassifier(_TREES, class_weight=self._class_weight, random_state=self.seed, n_jobs=1).fit(
            filled(values, mean), labels
        )
        trees = [tree.tree_ for tree in forest.estimators_]
        return {
            "mean": mean,
            "left": _padded([tree.children_left for tree in trees], -1, np.float32),
            "right": _padded([tree.children_right for tree in trees], -1, np.float32),
            "feature": _padded([tree.feature.clip(min=0) for tree in trees], 0, np.float32),
            "threshold": _padded([tree.threshold for tree in trees], 0, np.float64),
            "value": _padded([tree.value[:, 0, :] for tree in trees], 0, np.float64),
            "classes": classes.astype(np.float64),
        }

    def _classify(self, values: FloatArray) -> FloatArray:
        fitted = self._arrays
        left, right, feature = (fitted[name].astype(np.intp) for name in ("left", "right", "feature"))
        # The library's trees read single precision and hold thresholds in double.
        columns = filled(values, fitted["mean"]).astype(np.float32)
        subject = np.arange(len(columns))[:, np.newaxis]
        tree = np.arange(len(left))
        node = np.zeros((len(columns), len(left)), dtype=np.intp)
        while (inner := left[tree, node] >= 0).any():
            goes_left = columns[subject, feature[tree, node]] <= fitted["threshold"][tree, node]
            below = np.where(goes_left, left[tree, node], right[tree, node])
            node = np.where(inner, below, node)
        return spread(fitted["value"][tree, node].mean(axis=1), fitted["classes"], self.n_classes)


def _padded(arrays: list[Any], fill: float, dtype: type[np.floating[Any]]) -> FloatArray:
    """Stack arrays (J_t, ...) of different lengths as (T, J, ...)."""
    longest = max(len(array) for array in arrays)
    stacked = np.full((len(arrays), longest, *arrays[0].shape[1:]), fill, dtype=dtype)
    for place, array in enumerate(arrays):
        stacked[place, : len(array)] = array
    return stacked
