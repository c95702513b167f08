from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from migxai.config import Config, Learning
from migxai.errors import InputError
from migxai.group import fit as learning
from migxai.group import score as results
from migxai.group.fit import Unit
from migxai.io import write_json
from migxai.learning import load_model
from migxai.metrics.scores import score
from tests.group.cohorts import LABELS, configure, make_arrays, make_task

SETTINGS = Learning(models=("svm",), folds=2, trials=2, weights="random")
TASK = make_task("mwoa_vs_mwa")


def make_unit(model="svm", trial=1, keep=True) -> Unit:
    folds = None if trial is None else tuple(fold for fold in TASK.folds if fold.trial == trial)
    return Unit(
        model=model,
        indicator="reho",
        comparison=TASK.comparison.name,
        classes=TASK.comparison.labels,
        people=tuple(TASK.people.tolist()),
        labels=tuple(TASK.labels.tolist()),
        folds=folds,
        keep=keep,
    )


@pytest.fixture
def done(tmp_path):
    """Two trials and the model of everybody of an SVM; a trial of another model that was never begun."""
    arrays = make_arrays(tmp_path / "arrays")
    units = [make_unit(), make_unit(trial=2), make_unit(trial=None), make_unit("rf")]
    learning.CrossValidate(
        units=units[:3], arrays={"reho": arrays}, settings=SETTINGS, seed=0, folder=str(tmp_path / "folds")
    ).run(cwd=str(tmp_path))
    return units, {"reho": arrays}, tmp_path / "folds"


def test_folds_of_complete_units_are_named_by_whom_they_tested(done):
    units, arrays, folder = done
    found = list(results.tested_folds(units, arrays, folder))
    assert [(fold.model, fold.trial, fold.fold) for fold in found] == [
        ("svm", 1, 1),
        ("svm", 1, 2),
        ("svm", 2, 1),
        ("svm", 2, 2),
    ]
    for trial in (1, 2):
        tested = [subject for fold in found if fold.trial == trial for subject in fold.subjects]
        assert sorted(tested) == [arrays["reho"].subjects[row] for row in TASK.people]
    for fold in found:
        numbers = [int(subject.removeprefix("made/sub-")) - 1 for subject in fold.subjects]
        assert [LABELS[number] for number in numbers] == [fold.classes[label] for label in fold.labels]
        assert fold.probabilities.shape == (len(numbers), 1, 2)


def test_a_fold_that_has_vanished_is_named(done):
    units, arrays, folder = done
    next(folder.rglob("trial-01_fold-002.npz")).unlink()
    with pytest.raises(InputError, match=r"trial-01_fold-002.npz is gone; start again"):
        list(results.tested_folds(units, arrays, folder))


def test_permutations_count_those_that_score_as_high(done, tmp_path):
    units, _, folder = done
    config = configure(tmp_path, tmp_path, permutations=3)
    assert results.permutation_table(units, config, folder).empty, "not a row before all of them are there"
    null = {"roc_auc": [0.0, 1.0, 0.0], "balanced_accuracy": [1.0, 1.0, 1.0]}
    write_json(learning.permuted_path(folder, units[0], 0, ""), null)
    table = results.permutation_table(units, config, folder).set_index("metric")
    assert set(table["model"]) == {"svm"}, "the forest's own trial is not complete"
    folds = list(results.tested_folds(units[:1], {"reho": make_arrays(tmp_path / "arrays")}, folder))
    labels = np.concatenate([fold.labels for fold in folds])
    p = np.concatenate([fold.probabilities[:, 0] for fold in folds])
    expected = score(labels, p, units[0].classes)
    for metric in null:
        assert table["observed"][metric] == pytest.approx(expected[metric])
        as_high = sum(value >= expected[metric] - 1e-9 for value in null[metric])
        assert table["p"][metric] == pytest.approx((1 + as_high) / 4)
    assert table["null_mean"]["balanced_accuracy"] == 1
    assert results.permutation_table(units, configure(tmp_path, tmp_path), folder).empty


def make_plan(arrays):
    people = pd.DataFrame(
        {"key": arrays.subjects, "site": arrays.sites, "age": [30 + row for row in range(12)], "sex": ["F", None] * 6}
    )
    definition = {"Statistic": "reho", "Neighbours": 27}
    return SimpleNamespace(
        roster=SimpleNamespace(people=people, definitions={"reho": definition}, space="MNI152NLin6Asym", res=None),
        template=SimpleNamespace(geometry=arrays.geometry, atlas=SimpleNamespace(name="Five", indices=(1, 2, 3, 4, 5))),
    )


def test_models_are_saved_with_what_they_were_made_from(done, tmp_path):
    units, arrays, folder = done
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
    config = Config(learning=SETTINGS, random_seed=7)
    results.save_models(tmp_path / "models", config, make_plan(arrays["reho"]), units, arrays, folder, scores)
    names = {path.stem.removeprefix("mwoa_vs_mwa_reho_svm_") for path in (tmp_path / "models").glob("*.safetensors")}
    assert names == {"everybody", *(f"trial-{trial}_fold-{fold}" for trial in (1, 2) for fold in (1, 2))}
    inputs = arrays["reho"].inputs()
    for fold in TASK.folds:
        saved = load_model(
            tmp_path / "models" / f"mwoa_vs_mwa_reho_svm_trial-{fold.trial}_fold-{fold.number}.safetensors"
        )
        card = saved.card
        rows = TASK.people[fold.train]
        joined = "".join(arrays["reho"].hashes[row] for row in rows)
        assert card.inputs == {"maps": hashlib.sha256(joined.encode()).hexdigest()}
        assert card.cohort["n"] == len(rows)
        assert card.cohort["age"]["mean"] == pytest.approx(30 + rows.mean())
        assert card.cohort["classes"] == {
            name: int((TASK.labels[fold.train] == place).sum()) for place, name in enumerate(card.classes)
        }
        assert card.metrics == {"accuracy": {"value": 0.75, "low": 0.5, "high": 0.9}}
        assert (card.space, card.res, card.slicing, card.trunk) == ("MNI152NLin6Asym", "", None, None)
        assert card.definition == {"Statistic": "reho", "Neighbours": 27}
        assert card.regions == {"atlas": "Five", "indices": [1, 2, 3, 4, 5]}
        (tested,) = [
            item
            for item in results.tested_folds(units, arrays, folder)
            if (item.trial, item.fold) == (fold.trial, fold.number)
        ]
        again = saved.estimator().predict(inputs, TASK.people[fold.test])
        np.testing.assert_array_equal(again, tested.probabilities)
    everybody = load_model(tmp_path / "models" / "mwoa_vs_mwa_reho_svm_everybody.safetensors")
    assert everybody.card.cohort["n"] == len(TASK.people)
