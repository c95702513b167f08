"""Tables of predictions to tables of scores, checked against pandas and scikit-learn on the same rows."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from migxai.errors import InputError, UsageError
from migxai.evaluation.predictions import split_predictions
from migxai.evaluation.scoring import score_model, score_predictions
from migxai.metrics.inference import clopper_pearson, delong_interval

CLASSES = {"hc_vs_migraine": ("HC", "migraine"), "hc_vs_mwoa_vs_mwa": ("HC", "MWoA", "MWA")}


def predictions(comparison, model, *, trials=4, folds=5, n=30, slices=6, seed=0):
    """Tables of subjects and of slices, as the group level writes them; a model that knows a little."""
    rng = np.random.default_rng([seed, *model.encode()])
    names = CLASSES[comparison]
    size = len(names)
    y = np.sort(np.arange(n) % size)
    both = []
    for trial in range(trials):
        fold = np.empty(n, dtype=int)
        order = np.lexsort((np.random.default_rng([seed, trial]).random(n), y))
        fold[order] = np.arange(n) % folds
        logits = rng.normal(size=(n, 1, size)) + 0.7 * rng.normal(size=(n, slices, size))
        logits[np.arange(n), :, y] += 0.8
        p = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
        one = pd.DataFrame(
            {
                "comparison": comparison,
                "indicator": "reho",
                "model": model,
                "trial": trial,
                "fold": np.repeat(fold, slices),
                "subject": np.repeat([f"ds/sub-{i:02d}" for i in range(n)], slices),
                "slice": np.tile(np.arange(slices), n),
                "label": np.repeat(np.array(names)[y], slices),
                "predicted": np.array(names)[p.argmax(axis=2).ravel()],
            }
        )
        for c, name in enumerate(names):
            one[f"p[{name}]"] = p[:, :, c].ravel()
        both.append(one)
    slices_table = pd.concat(both, ignore_index=True)
    keys = ["comparison", "indicator", "model", "trial", "fold", "subject", "label"]
    subjects = slices_table.groupby(keys, as_index=False)[[f"p[{name}]" for name in names]].mean()
    subjects["predicted"] = np.array(names)[subjects[[f"p[{name}]" for name in names]].to_numpy().argmax(axis=1)]
    return subjects, slices_table


def together(tables):
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="module")
def tables():
    made = [predictions(comparison, model) for comparison in CLASSES for model in ("googlenet", "vit_b_16")]
    svm = predictions("hc_vs_migraine", "svm")[0]
    return together([*(one[0] for one in made), svm]), together([one[1] for one in made])


@pytest.fixture(scope="module")
def scores(tables):
    return score_predictions(*tables, CLASSES, cv="kfold", seed=1, bootstraps=200)


def test_every_unit_is_scored_at_both_levels(scores):
    units = set(scores.table[["comparison", "model", "level"]].itertuples(index=False, name=None))
    deep = {
        (comparison, model, level)
        for comparison in CLASSES
        for model in ("googlenet", "vit_b_16")
        for level in ("subject", "slice")
    }
    assert units == deep | {("hc_vs_migraine", "svm", "subject")}
    assert " ".join(scores.table.columns) == (
        "comparison indicator model level metric averaging value sd low high interval_method exact_low exact_high "
        "exact_method fold_mean fold_sd n_folds n_trials n n_rows how"
    )
    assert not scores.table.duplicated(["comparison", "indicator", "model", "level", "metric"]).any()
    assert scores.table["how"].str.len().min() > 30


@pytest.mark.parametrize("level", ["subject", "slice"])
@pytest.mark.parametrize("comparison", CLASSES)
def test_values_are_scikit_learns_by_trial_and_by_fold(tables, scores, comparison, level):
    table = tables[level == "slice"]
    rows = table[(table["comparison"] == comparison) & (table["model"] == "vit_b_16")]
    names = CLASSES[comparison]

    def area(one):
        p = one[[f"p[{name}]" for name in names]].to_numpy()
        truth = one["label"].map({name: c for c, name in enumerate(names)})
        return sk.roc_auc_score(truth, p[:, 1]) if len(names) == 2 else sk.roc_auc_score(truth, p, multi_class="ovr")

    functions = {
        "accuracy": lambda one: sk.accuracy_score(one["label"], one["predicted"]),
        "f1_macro": lambda one: sk.f1_score(one["label"], one["predicted"], average="macro"),
        "roc_auc" if len(names) == 2 else "roc_auc_ovr_macro": area,
    }
    chosen = scores.table[
        (scores.table["comparison"] == comparison)
        & (scores.table["model"] == "vit_b_16")
        & (scores.table["level"] == level)
    ].set_index("metric")
    for metric, function in functions.items():
        by_trial = [function(one) for _, one in rows.groupby("trial")]
        by_fold = [function(one) for _, one in rows.groupby(["trial", "fold"])]
        found = chosen.loc[metric]
        assert found["value"] == pytest.approx(np.mean(by_trial))
        assert found["sd"] == pytest.approx(np.std(by_trial, ddof=1))
        assert found["fold_mean"] == pytest.approx(np.mean(by_fold))
        assert found["fold_sd"] == pytest.approx(np.std(by_fold, ddof=1))
        assert found["low"] < found["value"] < found["high"]
        assert (found["n_folds"], found["n_trials"], found["n"], found["n_rows"]) == (20, 4, 30, len(rows))
    # Over trials the same subjects come again, so nothing is exact.
    assert chosen["exact_low"].isna().all()


def test_intervals_resample_subjects_with_all_their_trials(tables, scores):
    rows = tables[0][(tables[0]["comparison"] == "hc_vs_migraine") & (tables[0]["model"] == "svm")]
    right = (rows["label"] == rows["predicted"]).groupby(rows["subject"]).mean()
    label = rows.groupby("subject")["label"].first()
    rng = np.random.default_rng(0)
    drawn = [
        np.concatenate([rng.choice(right[label == name], (label == name).sum()) for name in ("HC", "migraine")]).mean()
        for _ in range(3000)
    ]
    found = scores.table.query("model == 'svm' and metric == 'accuracy'").iloc[0]
    assert [found["low"], found["high"]] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.02)


def test_one_trial_gets_exact_intervals_at_subject_level_alone():
    subjects, slices = predictions("hc_vs_migraine", "resnet18", trials=1)
    found = score_predictions(subjects, slices, CLASSES, cv="kfold", seed=0, bootstraps=50).table.set_index(
        ["level", "metric"]
    )
    right = int((subjects["label"] == subjects["predicted"]).sum())
    accuracy = found.loc[("subject", "accuracy")]
    assert (accuracy["exact_low"], accuracy["exact_high"]) == pytest.approx(clopper_pearson(right, 30))
    assert accuracy["exact_method"] == "Clopper-Pearson"
    sick = subjects["label"] == "migraine"
    hits = int((subjects["predicted"] == "migraine")[sick].sum())
    for metric in ("sensitivity", "recall[migraine]"):
        assert found.loc[("subject", metric), "exact_low"] == pytest.approx(clopper_pearson(hits, 15).low)
    area = delong_interval(sick.to_numpy(dtype=int), subjects["p[migraine]"].to_numpy())
    assert found.loc[("subject", "roc_auc"), "exact_low"] == pytest.approx(area.low)
    assert np.isnan(found.loc[("subject", "f1_macro"), "exact_low"])
    assert found.loc["slice", "exact_low"].isna().all()
    assert np.isnan(accuracy["sd"])


def test_leave_one_out_has_no_scores_of_folds_and_no_tests():
    made = [predictions("hc_vs_migraine", model, trials=1, folds=30) for model in ("svm", "rf")]
    found = score_predictions(
        together([one[0] for one in made]), None, CLASSES, cv="leave-one-out", seed=0, bootstraps=50
    )
    assert found.table["fold_mean"].isna().all()
    assert (found.table["n_folds"] == 0).all()
    chosen = found.table.set_index(["model", "metric"])
    assert chosen.loc[("svm", "accuracy"), "exact_method"] == "Clopper-Pearson"
    assert chosen.loc[("svm", "roc_auc"), "exact_method"] == ""
    assert found.comparisons["p"].isna().all()
    assert found.comparisons["how"].str.contains("No test").all()
    assert found.document["units"][0]["metrics"]["accuracy"]["per_fold"] is None


def test_comparisons_are_of_subjects_within_an_indicator(scores):
    assert " ".join(scores.comparisons.columns) == (
        "comparison indicator level metric model_a model_b value_a value_b test difference low high statistic df p "
        "p_holm n how"
    )
    assert set(scores.comparisons["level"]) == {"subject"}
    pairs = scores.comparisons.groupby("comparison").size()
    assert pairs.to_dict() == {"hc_vs_migraine": 3 * 3, "hc_vs_mwoa_vs_mwa": 3}
    assert (scores.comparisons["p_holm"] >= scores.comparisons["p"]).all()


def test_the_document_is_strict_json_and_agrees_with_the_table(scores):
    document = json.loads(json.dumps(scores.document, allow_nan=False))
    assert document["cross_validation"] == "kfold"
    for unit in document["units"]:
        rows = scores.table[
            (scores.table["comparison"] == unit["comparison"])
            & (scores.table["model"] == unit["model"])
            & (scores.table["level"] == unit["level"])
        ].set_index("metric")
        assert list(unit["metrics"]) == list(rows.index)
        for name, metric in unit["metrics"].items():
            assert metric["value"] == pytest.approx(rows.loc[name, "value"])
            assert np.mean(metric["per_trial"]) == pytest.approx(metric["value"])
            assert np.shape(metric["per_fold"]) == (4, 5)
        size = len(unit["classes"])
        assert np.shape(unit["confusion"]["per_trial"]) == (4, size, size)
        correct = np.mean([np.trace(one) / np.sum(one) for one in unit["confusion"]["per_trial"]])
        assert correct == pytest.approx(unit["metrics"]["accuracy"]["value"])
        assert unit["positive"] == (unit["classes"][1] if size == 2 else None)
        assert list(unit["roc"]) == (unit["classes"][1:] if size == 2 else unit["classes"])
        for curves in unit["roc"].values():
            assert len(curves) == 4
            assert all(len(curve["fpr"]) == len(curve["tpr"]) <= 200 for curve in curves)
        assert all(sum(bins["n"]) == rows["n_rows"].iloc[0] for bins in unit["calibration"].values())
        assert unit["consistency"] == []
    assert len(document["model_comparisons"]) == len(scores.comparisons)


def test_same_seed_same_numbers_and_other_seed_other_intervals(tables, scores):
    again = score_predictions(*tables, CLASSES, cv="kfold", seed=1, bootstraps=200)
    pd.testing.assert_frame_equal(again.table, scores.table)
    assert again.document == scores.document
    other = score_predictions(*tables, CLASSES, cv="kfold", seed=2, bootstraps=200).table
    assert (other["value"] == scores.table["value"]).all()
    assert (other["low"] != scores.table["low"]).any()


def test_the_order_of_rows_does_not_matter(tables, scores):
    shuffled = [table.sample(frac=1, random_state=0) for table in tables]
    again = score_predictions(*shuffled, CLASSES, cv="kfold", seed=1, bootstraps=200)
    numbers = ["value", "sd", "low", "high", "fold_mean"]
    assert np.allclose(again.table[numbers], scores.table[numbers], atol=1e-12, equal_nan=True)


def test_a_majority_classifier_is_not_given_a_precision():
    subjects, _ = predictions("hc_vs_migraine", "majority")
    subjects[["p[HC]", "p[migraine]"]] = [0.6, 0.4]
    subjects["predicted"] = "HC"
    found = score_predictions(subjects, None, CLASSES, cv="kfold", seed=0, bootstraps=50)
    chosen = found.table.set_index("metric")
    assert np.isnan(chosen.loc["precision[migraine]", "value"])
    assert np.isnan(chosen.loc["precision_macro", "value"])
    assert "50 of them undefined: no interval" in chosen.loc["precision_macro", "interval_method"]
    assert chosen.loc["f1[migraine]", "value"] == 0
    assert chosen.loc["roc_auc", "value"] == 0.5
    unit = found.document["units"][0]
    assert unit["metrics"]["precision_macro"]["value"] is None
    assert unit["undefined"][0].startswith("Trial 0: Class migraine was never predicted")


def test_bad_tables_get_a_sentence(tables):
    subjects, slices = tables

    def refused(table, part, level="subject"):
        arguments = (table, None) if level == "subject" else (subjects, table)
        with pytest.raises(InputError, match=part):
            score_predictions(*arguments, CLASSES, cv="kfold", seed=0, bootstraps=10)

    refused(subjects.iloc[:0], "no subject predictions")
    refused(subjects.drop(columns="fold"), "no column 'fold'")
    refused(slices.drop(columns="slice"), "no column 'slice'", "slice")
    refused(subjects.drop(columns="p[MWA]"), r"no column 'p\[MWA\]'")
    refused(subjects.assign(comparison="other"), "comparison 'other', whose classes are not given")
    refused(subjects.assign(label="HCs"), "label 'HCs' is not a class")
    refused(subjects.assign(**{"p[HC]": np.nan}), r"probability of subject 'ds/sub-\d\d' is missing")
    refused(subjects.assign(**{"p[HC]": 0.99}), "sum to 1.*hc_vs_migraine, reho, googlenet, level subject")
    first = subjects.loc[0, "subject"]
    refused(together([subjects, subjects.iloc[:1]]), f"'{first}' is there twice in one trial")
    two = subjects.copy()
    two.loc[0, "label"] = "migraine" if two.loc[0, "label"] == "HC" else "HC"
    refused(two, f"'{first}' has two labels")
    split = slices.copy()
    split.loc[0, "fold"] = (split.loc[0, "fold"] + 1) % 5
    refused(split, "'ds/sub-00' has two folds in one trial", "slice")
    with pytest.raises(UsageError, match="no cross-validation 'loo'"):
        score_predictions(subjects, None, CLASSES, cv="loo", seed=0, bootstraps=10)


def test_a_model_can_be_scored_alone(tables):
    sets = split_predictions(tables[0], CLASSES, "subject")
    assert [str(one.key) for one in sets][:1] == ["hc_vs_migraine, reho, googlenet, level subject"]
    records, _, model = score_model(sets[0], cv="kfold", seed=0, bootstraps=10)
    assert records[0]["metric"] == "accuracy"
    assert model.scores["accuracy"] == records[0]["value"]
