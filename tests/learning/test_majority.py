"""The baseline of class frequencies."""

from __future__ import annotations

import numpy as np
from sklearn.dummy import DummyClassifier

from migxai.config import Learning
from migxai.learning.tabular_classifiers import Majority
from tests.evaluation.tables import make_table, other_rows_changed


def test_equals_sklearns_prior():
    inputs, labels = make_table(41, classes=3)
    rows = np.arange(20)
    made = Majority(Learning(), n_classes=3, seed=0).fit(inputs, rows, labels[rows])
    expected = DummyClassifier(strategy="prior").fit(inputs.regions[rows], labels[rows])
    probabilities = made.predict(inputs, np.arange(20, 41))
    assert probabilities.shape == (21, 1, 3)
    np.testing.assert_allclose(probabilities[:, 0], expected.predict_proba(inputs.regions[20:]))


def test_counts_its_rows_alone_and_knows_of_absent_classes():
    inputs, labels = make_table(40, classes=3)
    rows = np.flatnonzero(labels != 2)
    made = Majority(Learning(), n_classes=3, seed=0).fit(inputs, rows, labels[rows])
    again = Majority(Learning(), n_classes=3, seed=0).fit(other_rows_changed(inputs, rows), rows, labels[rows])
    assert np.array_equal(made.tensors()["frequencies"], again.tensors()["frequencies"])
    assert made.tensors()["frequencies"][2] == 0
    new = Majority(Learning(), n_classes=3, seed=0).restore(made.tensors())
    assert np.array_equal(new.predict(inputs, rows), made.predict(inputs, rows))
