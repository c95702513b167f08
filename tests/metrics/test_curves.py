"""Points of curves against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from migxai.errors import InputError
from migxai.metrics.curves import calibration_points, roc_curve


@st.composite
def scored(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(2, 80))
    positive = rng.permutation(np.r_[True, False, rng.random(n - 2) < 0.4])
    return positive, np.round(rng.random(n), draw(st.integers(1, 8)))


@settings(deadline=None)
@given(scored())
def test_roc_curve_is_scikit_learns(case):
    positive, scores = case
    found = roc_curve(positive, scores)
    fpr, tpr, thresholds = sk.roc_curve(positive, scores, drop_intermediate=False)
    for point in zip(*found, strict=True):
        assert any(np.allclose(point, other) for other in zip(fpr, tpr, thresholds, strict=True))
    assert (found.fpr[0], found.tpr[0], found.fpr[-1], found.tpr[-1]) == (0, 0, 1, 1)
    assert sk.auc(found.fpr, found.tpr) == pytest.approx(sk.roc_auc_score(positive, scores))
    assert len(found.fpr) <= len(sk.roc_curve(positive, scores)[0])


def test_roc_curve_is_thinned():
    rng = np.random.default_rng(0)
    positive = rng.random(5000) < 0.5
    scores = rng.normal(size=5000) + positive
    found = roc_curve(positive, scores)
    assert len(found.fpr) == 200
    assert (np.diff(found.fpr) >= 0).all()
    assert (np.diff(found.tpr) >= 0).all()
    assert sk.auc(found.fpr, found.tpr) == pytest.approx(sk.roc_auc_score(positive, scores), abs=0.005)


def test_roc_curve_of_one_class_is_refused():
    with pytest.raises(InputError, match="rows of others"):
        roc_curve(np.array([True, True]), np.array([0.1, 0.2]))


@settings(deadline=None)
@given(scored())
def test_calibration_points_are_scikit_learns_away_from_edges(case):
    positive, p = case
    # scikit-learn's bins are closed on the left, ours on the right.
    p = np.clip(p, 0.005, 0.995)
    p = np.where(np.isclose(p * 10, np.round(p * 10)), p + 1e-4, p)
    found = calibration_points(positive, p)
    observed, predicted = calibration_curve(positive, p, n_bins=10)
    assert found.observed == pytest.approx(observed)
    assert found.predicted == pytest.approx(predicted)
    assert found.n.sum() == len(p)


def test_calibration_bins_hold_their_upper_edge():
    found = calibration_points(np.array([True, False, True]), np.array([0.0, 0.1, 0.5]))
    assert found.n.tolist() == [2, 1]
    assert found.observed.tolist() == [0.5, 1.0]
