from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from migxai.group import prediction_tables as predictions


def make_fold(rng, *, model="svm", slices=1, classes=("HC", "MWA"), fold=1, comparison="one"):
    probabilities = rng.dirichlet(np.ones(len(classes)), size=(3, slices))
    return predictions.TestedFold(
        comparison=comparison,
        indicator="reho",
        model=model,
        trial=2,
        fold=fold,
        classes=classes,
        subjects=tuple(f"data/sub-{fold}{number}" for number in range(3)),
        labels=np.array([0, 1, len(classes) - 1]),
        probabilities=probabilities,
    )


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_subjects_are_rows_with_the_mean_of_their_slices(rng):
    fold = make_fold(rng, model="net", slices=4)
    subjects, slices = predictions.prediction_tables([fold], "mean")
    assert list(subjects) == [
        *("comparison", "indicator", "model", "trial", "fold", "subject", "label", "predicted", "p[HC]", "p[MWA]")
    ]
    np.testing.assert_allclose(subjects[["p[HC]", "p[MWA]"]], fold.probabilities.mean(axis=1))
    assert subjects["label"].tolist() == ["HC", "MWA", "MWA"]
    assert subjects["predicted"].tolist() == np.array(fold.classes)[fold.probabilities.mean(axis=1).argmax(1)].tolist()
    assert set(subjects["trial"]) == {2}
    assert list(slices)[5:7] == ["subject", "slice"]
    assert slices["slice"].tolist() == 3 * [1, 2, 3, 4]
    assert slices["subject"].tolist() == [name for name in fold.subjects for _ in range(4)]
    np.testing.assert_array_equal(slices[["p[HC]", "p[MWA]"]], fold.probabilities.reshape(12, 2))
    assert slices["label"].tolist() == [label for label in subjects["label"] for _ in range(4)]


def test_each_slice_may_have_one_vote(rng):
    fold = make_fold(rng, slices=5)
    votes = np.eye(2)[fold.probabilities.argmax(axis=2)].sum(axis=1)
    subjects, _ = predictions.prediction_tables([fold], "majority")
    assert subjects["predicted"].tolist() == np.array(fold.classes)[votes.argmax(axis=1)].tolist()


def test_models_of_whole_subjects_have_no_slices(rng):
    subjects, slices = predictions.prediction_tables([make_fold(rng), make_fold(rng, fold=2)], "mean")
    assert len(subjects) == 6
    assert slices.empty


def test_classes_of_other_comparisons_are_missing(rng):
    folds = [make_fold(rng), make_fold(rng, classes=("HC", "MWoA", "MWA"), comparison="three")]
    subjects, _ = predictions.prediction_tables(folds, "mean")
    assert {name for name in subjects if name.startswith("p[")} == {"p[HC]", "p[MWoA]", "p[MWA]"}
    assert subjects["p[MWoA]"].isna().tolist() == [True] * 3 + [False] * 3
    sums = subjects[["p[HC]", "p[MWoA]", "p[MWA]"]].sum(axis=1)
    np.testing.assert_allclose(sums, 1)
    assert list(subjects.index) == list(range(6))


def test_nothing_makes_empty_tables():
    assert all(isinstance(table, pd.DataFrame) and table.empty for table in predictions.prediction_tables([], "mean"))
