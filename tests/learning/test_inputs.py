import numpy as np
import pytest
from scipy import ndimage

from migxai.errors import AtlasError
from migxai.learning.inputs import regional_means


@pytest.fixture
def scene():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 6, (9, 8, 7)) * 10
    return rng.normal(size=labels.shape), labels, rng.random(labels.shape) < 0.8


def test_means_and_coverage_equal_scipys(scene):
    volume, labels, covered = scene
    indices = [30, 10, 50]
    means, coverage = regional_means(volume, labels, indices, covered)
    np.testing.assert_allclose(means, ndimage.mean(volume, np.where(covered, labels, 0), indices), rtol=1e-12)
    np.testing.assert_allclose(coverage, ndimage.mean(covered.astype(float), labels, indices), rtol=1e-12)


def test_a_region_covered_too_little_has_no_mean(scene):
    volume, labels, covered = scene
    rim = np.flatnonzero(labels.ravel() == 20)
    covered.ravel()[rim] = False
    covered.ravel()[rim[: len(rim) // 2 - 1]] = True
    means, coverage = regional_means(volume, labels, [10, 20], covered)
    assert np.isfinite(means[0])
    assert np.isnan(means[1])
    assert 0.3 < coverage[1] < 0.5
    assert np.isfinite(regional_means(volume, labels, [10, 20], covered, min_coverage=0.3)[0]).all()


def test_numbers_outside_the_mask_and_nan_inside_it_do_not_enter(scene):
    volume, labels, covered = scene
    expected = regional_means(volume, labels, [10, 20], covered)
    dirty = np.where(covered, volume, np.nan)
    np.testing.assert_array_equal(regional_means(dirty, labels, [10, 20], np.ones_like(covered)), expected)


def test_absent_regions_and_empty_maps_are_covered_by_nothing(scene):
    volume, labels, covered = scene
    means, coverage = regional_means(volume, labels, [10, 99], covered, min_coverage=0.0)
    assert np.isnan(means[1])
    assert coverage[1] == 0
    means, coverage = regional_means(volume, labels, [10, 20], np.zeros_like(covered))
    assert np.isnan(means).all()
    assert not coverage.any()


def test_shapes_must_agree(scene):
    volume, labels, covered = scene
    with pytest.raises(AtlasError, match="do not fit each other"):
        regional_means(volume[1:], labels, [10], covered)
