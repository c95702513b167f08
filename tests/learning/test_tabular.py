"""Filling and scaling of columns, against scikit-learn's."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from migxai.learning.tabular import column_means, column_scales, standardised

# Three decimals: what differs does so by more than rounding.
NUMBERS = st.one_of(st.just(np.nan), st.integers(-(10**6), 10**6).map(lambda number: number / 1000))


@settings(deadline=None, max_examples=150)
@given(arrays(np.float64, st.tuples(st.integers(2, 12), st.integers(1, 5)), elements=NUMBERS), st.integers(1, 6))
def test_equals_sklearns_imputer_and_scaler(values, more):
    mean = column_means(values)
    scale = column_scales(values, mean)
    new = np.random.default_rng(more).normal(size=(more, values.shape[1]))
    new[0, 0] = np.nan
    chain = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()).fit(values)
    varies = scale > 0
    assert varies.tolist() == [len(np.unique(column[~np.isnan(column)])) > 1 for column in values.T]
    np.testing.assert_allclose(standardised(new, mean, scale)[:, varies], chain.transform(new)[:, varies], 1e-9, 1e-9)
    assert (standardised(new, mean, scale)[:, ~varies] == 0).all()
    assert np.isfinite(standardised(new, mean, scale)).all()
