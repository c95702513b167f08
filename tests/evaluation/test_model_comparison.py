"""Which models are compared, by which tests, and what is said of it."""

import numpy as np
import pandas as pd
import pytest

from migxai.errors import InputError, UsageError
from migxai.evaluation.model_comparison import ComparedModel, allowed_tests, compare_models
from migxai.evaluation.predictions import split_predictions
from migxai.metrics.inference import corrected_t_test, delong_test, holm


def test_what_is_allowed_and_why():
    assert allowed_tests("kfold", n_classes=2, trials=1)[:2] == (True, True)
    many = allowed_tests("kfold", n_classes=2, trials=4)
    assert many[:2] == (True, False)
    assert "several trials" in many.reason
    three = allowed_tests("kfold", n_classes=3, trials=1)
    assert three[:2] == (True, False)
    assert "two classes" in three.reason
    for classes in (2, 3):
        one_out = allowed_tests("leave-one-out", n_classes=classes, trials=1)
        assert one_out[:2] == (False, False)
        assert one_out.reason.startswith("No test:")
    sites = allowed_tests("leave-one-site-out", n_classes=2, trials=1)
    assert sites[:2] == (False, True)
    assert "No corrected t-test" in sites.reason
    with pytest.raises(UsageError, match="no cross-validation 'loo'"):
        allowed_tests("loo", n_classes=2, trials=1)


def candidate(model, *, seed, trials=1, folds=5, n=20):
    """A model whose scores are drawn at random, everything the same but them."""
    rng = np.random.default_rng(seed)
    blocks = []
    for trial in range(trials):
        second = rng.uniform(0.05, 0.95, n)
        y = np.arange(n) % 2
        blocks.append(
            pd.DataFrame(
                {
                    "comparison": "c",
                    "indicator": "reho",
                    "model": model,
                    "trial": trial,
                    "fold": np.arange(n) // 2 % folds,
                    "subject": [f"s{i:02d}" for i in range(n)],
                    "label": np.where(y, "b", "a"),
                    "predicted": np.where(second > 0.5, "b", "a"),
                    "p[a]": 1 - second,
                    "p[b]": second,
                }
            ).sample(frac=1, random_state=seed)
        )
    unit = split_predictions(pd.concat(blocks, ignore_index=True), {"c": ("a", "b")}, "subject")[0]
    names = ("accuracy", "balanced_accuracy", "roc_auc")
    values = {name: float(rng.uniform()) for name in names}
    return ComparedModel(
        unit,
        values,
        {name: rng.uniform(size=(trials, folds)) for name in names},
        {name: rng.normal(values[name], 0.1, 400) for name in names},
    )


def test_pairs_of_models():
    models = [candidate(name, seed=seed, trials=4) for seed, name in enumerate(("svm", "rf", "vit"))]
    records = compare_models(models, "kfold")
    assert len(records) == 3 * 3
    assert all(list(record) == list(records[0]) for record in records)
    first = records[0]
    expected = corrected_t_test((models[0].per_fold["accuracy"] - models[1].per_fold["accuracy"]).ravel(), 4 / 16)
    assert first["p"] == pytest.approx(expected.p)
    assert first["df"] == 19
    for metric in ("accuracy", "roc_auc"):
        family = [record for record in records if record["metric"] == metric]
        assert [one["p_holm"] for one in family] == pytest.approx(holm([one["p"] for one in family]))


def test_one_trial_adds_delong():
    models = [candidate(name, seed=seed) for seed, name in enumerate(("svm", "rf"))]
    records = compare_models(models, "kfold")
    assert [(one["metric"], one["test"]) for one in records] == [
        ("accuracy", "corrected t-test"),
        ("balanced_accuracy", "corrected t-test"),
        ("roc_auc", "corrected t-test"),
        ("roc_auc", "DeLong"),
    ]
    a, b = (model.predictions for model in models)
    second = {name: b.p[row, 1] for row, name in enumerate(np.array(b.subjects)[b.subject])}
    other = np.array([second[name] for name in np.array(a.subjects)[a.subject]])
    assert records[3]["p"] == pytest.approx(delong_test(a.y, a.p[:, 1], other).p)
    sites = compare_models(models, "leave-one-site-out")
    assert [one["test"] for one in sites] == ["none", "none", "DeLong"]


def test_folds_that_leave_a_score_undefined_are_counted():
    first, second = (candidate(name, seed=seed) for seed, name in enumerate(("svm", "rf")))
    first.per_fold["roc_auc"][0, :2] = np.nan
    record = compare_models([first, second], "kfold")[2]
    assert record["df"] == 2
    assert "3 folds. 2 folds leave the score undefined." in record["how"]


def test_leave_one_out_gets_an_interval_and_a_reason_but_no_test():
    models = [candidate(name, seed=seed) for seed, name in enumerate(("svm", "rf"))]
    records = compare_models(models, "leave-one-out")
    assert {one["test"] for one in records} == {"none"}
    for one in records:
        assert np.isnan(one["p"])
        assert np.isnan(one["p_holm"])
        assert one["low"] < one["difference"] < one["high"]
        assert "No test" in one["how"]


def test_models_of_other_subjects_or_folds_are_not_compared():
    records = compare_models([candidate("svm", seed=0), candidate("rf", seed=1, n=18)], "kfold")
    assert {one["test"] for one in records} == {"none"}
    assert all("same subjects" in one["how"] and np.isnan(one["difference"]) for one in records)
    records = compare_models([candidate("svm", seed=0), candidate("rf", seed=1, folds=4)], "kfold")
    assert {one["test"] for one in records} == {"none"}
    with pytest.raises(InputError, match="two folds"):
        compare_models([candidate("svm", seed=0, folds=1), candidate("rf", seed=1, folds=1)], "kfold")
