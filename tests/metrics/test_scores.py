"""Scores against scikit-learn, and what must hold where scikit-learn has no answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from migxai.errors import InputError, UsageError
from migxai.metrics.scores import (
    DEFINITIONS,
    aggregate_subjects,
    averaging,
    confusion_matrix,
    evaluate,
    family,
    score,
    sums,
    why_undefined,
)

NAMES = ("HC", "MWoA", "MWA")


@st.composite
def predictions(draw):
    """Labels of all classes, probabilities (rounded, so that they tie), and labels predicted from them."""
    size = draw(st.sampled_from([2, 3]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(2 * size, 60))
    y = np.r_[np.arange(size), rng.integers(0, size, n - size)]
    p = np.round(rng.dirichlet(np.ones(size), n), draw(st.sampled_from([1, 2, 8])))
    p[:, 0] = np.clip(1 - p[:, 1:].sum(axis=1), 0, 1)
    return y, p / p.sum(axis=1, keepdims=True), NAMES[:size]


@settings(deadline=None, max_examples=60)
@given(predictions())
def test_equals_scikit_learn(case):
    y, p, names = case
    said = p.argmax(axis=1)
    found = score(y, p, names)
    labels = list(range(len(names)))
    expected = {
        "accuracy": sk.accuracy_score(y, said),
        "balanced_accuracy": sk.balanced_accuracy_score(y, said),
        "log_loss": sk.log_loss(y, p, labels=labels),
        "brier": sk.brier_score_loss(y, p, labels=labels, scale_by_half=False),
    }
    for name, function in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        each = function(y, said, labels=labels, average=None, zero_division=np.nan)
        expected |= {f"{name}[{label}]": each[c] for c, label in enumerate(names)}
        if np.isfinite(each).all():
            for average in ("macro", "weighted"):
                expected[f"{name}_{average}"] = function(y, said, average=average)
        else:
            assert np.isnan(found[f"{name}_macro"])
            assert np.isnan(found[f"{name}_weighted"])
    if len(names) == 2:
        expected["sensitivity"] = sk.recall_score(y, said)
        expected["specificity"] = sk.recall_score(y, said, pos_label=0)
        expected["roc_auc"] = sk.roc_auc_score(y, p[:, 1])
    else:
        expected["roc_auc_ovr_macro"] = sk.roc_auc_score(y, p, multi_class="ovr", average="macro")
        for c, label in enumerate(names):
            expected[f"roc_auc[{label}]"] = sk.roc_auc_score(y == c, p[:, c])
            expected[f"specificity[{label}]"] = sk.recall_score(y != c, said != c)
        expected["specificity_macro"] = np.mean([expected[f"specificity[{label}]"] for label in names])
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name
    assert set(found) - set(expected) <= {
        "ece", *(f"{name}_{average}" for name in ("precision", "f1") for average in ("macro", "weighted"))
    }  # fmt: skip
    assert (confusion_matrix(y, said, len(names)) == sk.confusion_matrix(y, said, labels=labels)).all()


@settings(deadline=None, max_examples=50)
@given(predictions())
def test_calibration_error_equals_a_plain_loop(case):
    y, p, names = case
    said, confidence = p.argmax(axis=1), p.max(axis=1)
    expected = 0.0
    for low in range(10):
        inside = np.ceil(confidence * 10) == low + 1
        if inside.any():
            expected += inside.sum() * abs((said == y)[inside].mean() - confidence[inside].mean())
    assert score(y, p, names)["ece"] == pytest.approx(expected / len(y), abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(predictions(), st.integers(0, 2**32 - 1))
def test_weighting_groups_is_repeating_their_rows(case, seed):
    y, p, names = case
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 7, len(y))
    counts = rng.integers(0, 4, (3, 7))
    parts = sums(y, p, names, groups=groups, n_groups=7)
    found = evaluate(parts, counts)
    for b, weights in enumerate(counts):
        rows = np.repeat(np.arange(len(y)), weights[groups])
        if not len(rows):
            assert np.isnan(found["accuracy"][b])
            continue
        for name, value in score(y[rows], p[rows], names).items():
            assert found[name][b] == pytest.approx(value, abs=1e-10, nan_ok=True), name


def test_a_class_that_is_absent_or_never_predicted_is_not_zero():
    p = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]])
    found = score(np.array([0, 0, 1]), p, NAMES)
    for name in ("recall[MWA]", "f1[MWA]", "precision[MWA]", "roc_auc[MWA]"):
        assert np.isnan(found[name])
    for name in ("recall_macro", "balanced_accuracy", "f1_macro", "precision_macro", "roc_auc_ovr_macro"):
        assert np.isnan(found[name])
    assert found["f1_weighted"] == 1.0
    assert found["specificity[MWA]"] == 1.0
    # Predicted but absent: F1 stays undefined, as its recall is.
    assert np.isnan(score(np.array([0, 0, 1]), p[:, [0, 2, 1]], NAMES)["f1[MWA]"])
    never = score(np.array([0, 0, 1, 2]), np.vstack([p, [[0.5, 0.4, 0.1]]]), NAMES)
    assert np.isnan(never["precision[MWA]"])
    assert never["f1[MWA]"] == 0.0
    assert why_undefined(np.array([[2, 0, 0], [0, 1, 0], [0, 0, 0]]), NAMES) == [
        "Nobody is of class MWA: its recall, F1 and AUC, and their averages, are undefined.",
        "Class MWA was never predicted: its precision, and averages of it, are undefined.",
    ]


def test_predicted_classes_may_differ_from_the_most_probable():
    y, p = np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])
    found = score(y, p, NAMES[:2], predicted=np.array([1, 1]))
    assert found["accuracy"] == 0.5
    assert found["roc_auc"] == 1.0
    assert found["ece"] == pytest.approx((abs(0 - 0.1) + abs(1 - 0.8)) / 2)


@pytest.mark.parametrize(
    ("y", "p", "part"),
    [
        ([0, 1], [[0.5, 0.5]], "do not fit"),
        ([], np.empty((0, 2)), "no predictions"),
        ([0, 2], [[0.5, 0.5]] * 2, "label is not one"),
        ([0, 1], [[np.nan, 0.5]] * 2, "not a finite"),
        ([0, 1], [[0.5, 0.6]] * 2, "sum to 1"),
        ([0, 1], [[1.5, -0.5]] * 2, "within 0 and 1"),
    ],
)
def test_refuses_what_cannot_be_scored(y, p, part):
    with pytest.raises(InputError, match=part):
        score(np.array(y, dtype=int), np.array(p), NAMES[:2])


def test_every_name_has_a_definition_and_says_its_averaging():
    y, p = np.arange(3), np.full((3, 3), 1 / 3)
    for names in (NAMES, NAMES[:2]):
        size = len(names)
        for name in score(y[:size], p[:size, :size] * 3 / size, names):
            assert family(name) in DEFINITIONS
            assert averaging(name, names)
    assert family("roc_auc_ovr_macro") == "roc_auc"
    assert averaging("f1[MWA]", NAMES) == "class MWA"
    assert averaging("sensitivity", ("HC", "migraine")) == "positive class migraine"


def test_votes():
    p = np.array([[[0.6, 0.4], [0.6, 0.4], [0.0, 1.0]], [[0.6, 0.4], [0.3, 0.7], [0.5, 0.5]]])
    mean = aggregate_subjects(p)
    assert mean == pytest.approx(p.mean(axis=1))
    assert mean.argmax(axis=1).tolist() == [1, 1]
    majority = aggregate_subjects(p, "majority")
    assert majority.argmax(axis=1).tolist() == [0, 0]
    assert majority.sum(axis=1) == pytest.approx(1)
    tie = np.array([[[0.55, 0.45], [0.1, 0.9]]])
    assert aggregate_subjects(tie, "majority").argmax() == 1
    assert aggregate_subjects(tie[:, :1], "majority") == pytest.approx(tie[:, 0])
    with pytest.raises(UsageError, match="no vote"):
        aggregate_subjects(p, "median")
    with pytest.raises(InputError, match="finite"):
        aggregate_subjects(np.full((1, 2, 2), np.nan))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3]), st.integers(2, 9))
def test_the_extra_vote_never_overrules_a_majority(seed, size, slices):
    p = np.random.default_rng(seed).dirichlet(np.full(size, 0.3), (4, slices))
    votes = np.stack([np.bincount(row, minlength=size) for row in p.argmax(axis=2)])
    chosen = aggregate_subjects(p, "majority").argmax(axis=1)
    assert (votes[np.arange(4), chosen] == votes.max(axis=1)).all()
