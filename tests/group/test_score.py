from __future__ import annotations

import dataclasses
import hashlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from migxai.config import Learning
from migxai.errors import InputError
from migxai.evaluation import learning_curve
from migxai.group import score as results
from migxai.group.fit import FitJob, permutation_path
from migxai.io import write_json
from migxai.learning import load_model
from migxai.metrics.scores import score
from tests.group.cohorts import LABELS, configure, make_arrays, make_experiment, make_workspace, plan_comparison

SETTINGS = Learning(models=("svm",), folds=2, trials=2, weights="random")
PLANNED = plan_comparison("mwoa_vs_mwa")


@pytest.fixture
def done(tmp_path):
    """Two trials and the model of everybody of an SVM; a trial of another model that was never begun."""
    workspace = make_workspace(make_arrays(tmp_path / "arrays"), SETTINGS)
    experiments = [make_experiment(), make_experiment(trial=2), make_experiment(trial=None), make_experiment("rf")]
    FitJob(name="some", workspace=workspace, experiments=tuple(experiments[:3])).run()
    return experiments, workspace


def test_folds_of_complete_experiments_are_named_by_whom_they_tested(done):
    experiments, workspace = done
    found = list(results.tested_folds(experiments, workspace))
    assert [(fold.model, fold.trial, fold.fold) for fold in found] == [
        ("svm", 1, 1),
        ("svm", 1, 2),
        ("svm", 2, 1),
        ("svm", 2, 2),
    ]
    for trial in (1, 2):
        tested = [subject for fold in found if fold.trial == trial for subject in fold.subjects]
        assert sorted(tested) == [workspace.arrays["reho"].subjects[row] for row in PLANNED.people]
    for fold in found:
        numbers = [int(subject.removeprefix("made/sub-")) - 1 for subject in fold.subjects]
        assert [LABELS[number] for number in numbers] == [fold.classes[label] for label in fold.labels]
        assert fold.probabilities.shape == (len(numbers), 1, 2)


def test_a_fold_that_has_vanished_is_named(done):
    experiments, workspace = done
    next(workspace.folds.rglob("trial-01_fold-002.npz")).unlink()
    with pytest.raises(InputError, match=r"trial-01_fold-002.npz is gone; start again"):
        list(results.tested_folds(experiments, workspace))


def test_permutations_count_those_that_score_as_high(done, tmp_path):
    experiments, workspace = done
    config = configure(tmp_path, tmp_path, permutations=3)
    assert results.permutation_table(experiments, config, workspace.folds).empty, (
        "not a row before all of them are there"
    )
    null = {"roc_auc": [0.0, 1.0, 0.0], "balanced_accuracy": [1.0, 1.0, 1.0]}
    write_json(permutation_path(workspace.folds, experiments[0], 0, ""), null)
    table = results.permutation_table(experiments, config, workspace.folds).set_index("metric")
    assert set(table["model"]) == {"svm"}, "the forest's own trial is not complete"
    folds = list(results.tested_folds(experiments[:1], workspace))
    labels = np.concatenate([fold.labels for fold in folds])
    p = np.concatenate([fold.probabilities[:, 0] for fold in folds])
    expected = score(labels, p, experiments[0].classes)
    for metric in null:
        assert table["observed"][metric] == pytest.approx(expected[metric])
        as_high = sum(value >= expected[metric] - 1e-9 for value in null[metric])
        assert table["p"][metric] == pytest.approx((1 + as_high) / 4)
    assert table["null_mean"]["balanced_accuracy"] == 1
    assert results.permutation_table(experiments, configure(tmp_path, tmp_path), workspace.folds).empty


def make_plan(arrays):
    people = pd.DataFrame(
        {"key": arrays.subjects, "site": arrays.sites, "age": [30 + row for row in range(12)], "sex": ["F", None] * 6}
    )
    definition = {"Statistic": "reho", "Neighbours": 27}
    return SimpleNamespace(
        cohort=SimpleNamespace(people=people, definitions={"reho": definition}, space="MNI152NLin6Asym", res=None),
        template=SimpleNamespace(geometry=arrays.geometry, atlas=SimpleNamespace(name="Five", indices=(1, 2, 3, 4, 5))),
    )


def test_models_are_saved_with_what_they_were_made_from(done, tmp_path):
    experiments, workspace = done
    scores = SimpleNamespace(
        table=pd.DataFrame(
            {
                "comparison": "mwoa_vs_mwa",
                "indicator": "reho",
                "model": ["svm", "svm", "rf", "svm"],
                "level": ["subject", "slice", "subject", "subject"],
                "metric": ["accuracy", "accuracy", "accuracy", "ece"],
                "value": [0.75, 0.1, 0.2, 0.3],
                "low": 0.5,
                "high": 0.9,
            }
        )
    )
    plan = make_plan(workspace.arrays["reho"])
    results.save_models(tmp_path / "models", plan, experiments, workspace, scores)
    names = {path.stem.removeprefix("mwoa_vs_mwa_reho_svm_") for path in (tmp_path / "models").glob("*.safetensors")}
    assert names == {"everybody", *(f"trial-{trial}_fold-{fold}" for trial in (1, 2) for fold in (1, 2))}
    inputs = workspace.arrays["reho"].inputs()
    for fold in PLANNED.folds:
        saved = load_model(
            tmp_path / "models" / f"mwoa_vs_mwa_reho_svm_trial-{fold.trial}_fold-{fold.number}.safetensors"
        )
        card = saved.card
        rows = PLANNED.people[fold.train]
        joined = "".join(workspace.arrays["reho"].hashes[row] for row in rows)
        assert card.inputs == {"maps": hashlib.sha256(joined.encode()).hexdigest()}
        assert card.cohort["n"] == len(rows)
        assert card.cohort["age"]["mean"] == pytest.approx(30 + rows.mean())
        assert card.cohort["classes"] == {
            name: int((PLANNED.labels[fold.train] == place).sum()) for place, name in enumerate(card.classes)
        }
        assert card.metrics == {"accuracy": {"value": 0.75, "low": 0.5, "high": 0.9}}
        assert (card.space, card.res, card.slicing, card.trunk) == ("MNI152NLin6Asym", "", None, None)
        assert card.definition == {"Statistic": "reho", "Neighbours": 27}
        assert card.regions == {"atlas": "Five", "indices": [1, 2, 3, 4, 5]}
        (tested,) = [
            item
            for item in results.tested_folds(experiments, workspace)
            if (item.trial, item.fold) == (fold.trial, fold.number)
        ]
        again = saved.estimator().predict(inputs, PLANNED.people[fold.test])
        np.testing.assert_array_equal(again, tested.probabilities)
    everybody = load_model(tmp_path / "models" / "mwoa_vs_mwa_reho_svm_everybody.safetensors")
    assert everybody.card.cohort["n"] == len(PLANNED.people)


def make_fold(rng, *, model="svm", slices=1, classes=("HC", "MWA"), fold=1, comparison="one"):
    probabilities = rng.dirichlet(np.ones(len(classes)), size=(3, slices))
    return results.TestedFold(
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
    subjects, slices = results.prediction_tables([fold], "mean")
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
    subjects, _ = results.prediction_tables([fold], "majority")
    assert subjects["predicted"].tolist() == np.array(fold.classes)[votes.argmax(axis=1)].tolist()


def test_models_of_whole_subjects_have_no_slices(rng):
    subjects, slices = results.prediction_tables([make_fold(rng), make_fold(rng, fold=2)], "mean")
    assert len(subjects) == 6
    assert slices.empty


def test_classes_of_other_comparisons_are_missing(rng):
    folds = [make_fold(rng), make_fold(rng, classes=("HC", "MWoA", "MWA"), comparison="three")]
    subjects, _ = results.prediction_tables(folds, "mean")
    assert {name for name in subjects if name.startswith("p[")} == {"p[HC]", "p[MWoA]", "p[MWA]"}
    assert subjects["p[MWoA]"].isna().tolist() == [True] * 3 + [False] * 3
    sums = subjects[["p[HC]", "p[MWoA]", "p[MWA]"]].sum(axis=1)
    np.testing.assert_allclose(sums, 1)
    assert list(subjects.index) == list(range(6))


def test_nothing_makes_empty_tables():
    assert all(isinstance(table, pd.DataFrame) and table.empty for table in results.prediction_tables([], "mean"))


@pytest.fixture
def curves(monkeypatch, tmp_path):
    """Make the table of learning curves of experiments of which there are predictions of some models."""
    monkeypatch.setattr(learning_curve, "SHARES", (1.0,))
    workspace = make_workspace(make_arrays(tmp_path / "arrays"), dataclasses.replace(SETTINGS, bootstraps=20))

    def call(experiments, *models):
        predictions = {"comparison": PLANNED.comparison.name, "indicator": "reho", "model": list(models)}
        return results.learning_curve_table(experiments, workspace, pd.DataFrame(predictions))

    return call


def test_a_curve_of_the_first_trial_of_fast_models(curves):
    experiments = [make_experiment(), make_experiment(trial=2), make_experiment("rf"), make_experiment(trial=None)]
    table = curves(experiments, "svm", "rf")
    assert list(table.columns) == ["comparison", "indicator", "model", "n", "value", "low", "high"]
    assert table[["comparison", "model"]].drop_duplicates().to_numpy().tolist() == [[PLANNED.comparison.name, "svm"]]
    assert table["n"].tolist() == [np.mean([len(fold.train) for fold in experiments[0].folds])]


def test_no_curve_of_what_failed_or_has_too_many_folds(curves, monkeypatch):
    assert curves([make_experiment()], "rf").empty
    monkeypatch.setattr(results, "CURVE_FOLDS", 1)
    assert curves([make_experiment()], "svm").empty
