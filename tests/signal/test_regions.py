"""Regional means, coverage and painted maps on a small atlas."""

import numpy as np
import pytest

from migxai.errors import AtlasError
from migxai.signal import paint, region_coverage, region_means, region_values


def test_means_are_those_of_the_members():
    rng = np.random.default_rng(0)
    series, labels = rng.standard_normal((500, 30)).astype(np.float32) + 100, rng.integers(0, 9, 500)
    indices = [7, 2, 99, 5]
    found = region_means(series, labels, indices)
    assert found.shape == (30, 4)
    for place, index in enumerate(indices):
        if index == 99:
            assert np.isnan(found[:, place]).all()
        else:
            np.testing.assert_allclose(found[:, place], series[labels == index].mean(axis=0, dtype=float), rtol=1e-12)


def test_values_of_a_map():
    labels = np.array([[[1, 1, 2], [0, 5, 5]]])
    values = np.array([[[1.0, 3.0, 7.0], [100.0, 2.0, 4.0]]])
    np.testing.assert_array_equal(region_values(values, labels, [5, 1, 3, 2]), [3, 2, np.nan, 7])


def test_coverage_is_the_share_inside_the_mask():
    atlas = np.array([[[1, 1, 1, 1], [2, 2, 0, 0]]])
    mask = np.array([[[1, 1, 1, 0], [0, 0, 1, 1]]])
    np.testing.assert_array_equal(region_coverage(atlas, mask, [1, 2, 3]), [0.75, 0.0, np.nan])


def test_painting_inverts_taking_values():
    rng = np.random.default_rng(0)
    atlas = rng.integers(0, 6, (4, 5, 6))
    indices = np.array([4, 1, 3])
    painted = paint([1.5, np.nan, -2.0], atlas, indices)
    assert np.isnan(painted[atlas == 1]).all()
    assert not painted[np.isin(atlas, [0, 2, 5])].any()
    np.testing.assert_array_equal(region_values(painted, atlas, indices), [1.5, np.nan, -2.0])
    assert not np.isnan(paint([1.5, np.nan, -2.0], atlas, indices, missing=0.0)).any()


def test_atlases_that_do_not_fit_are_refused():
    with pytest.raises(AtlasError, match="labels do not fit"):
        region_means(np.ones((4, 5)), [1, 2], [1])
    with pytest.raises(AtlasError, match="labels do not fit"):
        region_values(np.ones(4), [1, 2], [1])
    with pytest.raises(AtlasError, match="whole numbers"):
        region_coverage(np.full((2, 2, 2), 1.5), np.ones((2, 2, 2)), [1])
    with pytest.raises(AtlasError, match="does not fit a mask"):
        region_coverage(np.ones((2, 2, 3)), np.ones((2, 2, 2)), [1])
    with pytest.raises(AtlasError, match="regional values"):
        paint([1.0], np.ones((2, 2, 2)), [1, 2])
