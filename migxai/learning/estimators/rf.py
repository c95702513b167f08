"""A random forest on regional means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from migxai.learning.estimators import EstimatorEntry, Table
from migxai.learning.estimators.table import TableClassifier, classes_of, column_means, filled, spread

if TYPE_CHECKING:
    from migxai.metrics.types import FloatArray, IntArray

#: Trees of a random forest.
_TREES = 500


class RandomForest(TableClassifier):
    """A forest of 500 trees on the regional means.

    Regions that a subject's map does not cover are filled with the training subjects' mean.

    Its arrays are ``mean`` (R,) and, for T trees padded to the J nodes of the largest, ``left``, ``right`` (children;
    -1 at a leaf), ``feature`` and ``threshold`` (T, J) and ``value`` (T, J, K), the shares of the K ``classes`` that
    the training subjects have. Whole numbers are kept as floats, exact up to 2^24.
    """

    reads: ClassVar[tuple[Table, ...]] = ("regions",)
    fitted: ClassVar[tuple[str, ...]] = ("mean", "left", "right", "feature", "threshold", "value", "classes")

    def learn(self, values: FloatArray, labels: IntArray) -> dict[str, FloatArray]:
        """Return the fitted arrays; see `TableClassifier.learn`."""
        import numpy as np
        from sklearn.ensemble import RandomForestClassifier

        classes = classes_of(labels)
        mean = column_means(values)
        forest = RandomForestClassifier(_TREES, class_weight=self._class_weight, random_state=self.seed, n_jobs=1).fit(
            filled(values, mean), labels
        )
        trees = [tree.tree_ for tree in forest.estimators_]
        return {
            "mean": mean,
            "left": _padded([tree.children_left for tree in trees], -1, "f4"),
            "right": _padded([tree.children_right for tree in trees], -1, "f4"),
            "feature": _padded([tree.feature.clip(min=0) for tree in trees], 0, "f4"),
            "threshold": _padded([tree.threshold for tree in trees], 0, "f8"),
            "value": _padded([tree.value[:, 0, :] for tree in trees], 0, "f8"),
            "classes": classes.astype(np.float64),
        }

    def classify(self, values: FloatArray) -> FloatArray:
        """Return probabilities (n, C); see `TableClassifier.classify`."""
        import numpy as np

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


def _padded(arrays: list[Any], fill: float, dtype: str) -> FloatArray:
    """Stack arrays (J_t, ...) of different lengths as (T, J, ...)."""
    import numpy as np

    longest = max(len(array) for array in arrays)
    stacked = np.full((len(arrays), longest, *arrays[0].shape[1:]), fill, dtype=dtype)
    for place, array in enumerate(arrays):
        stacked[place, : len(array)] = array
    return stacked


ENTRY = EstimatorEntry(
    name="rf", title="Random forest", citation="breiman2001", order=20, make=RandomForest, fields=("class_weights",)
)
