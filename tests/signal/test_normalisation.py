"""Mean-normalised and z-scored maps, and what the shell of zeros does to them."""

import numpy as np
import pytest

from migxai.errors import ImageError
from migxai.signal import mean_normalised, z_scored


@pytest.fixture
def grid():
    values = np.random.default_rng(0).uniform(1, 3, (6, 7, 8))
    mask = np.random.default_rng(1).random((6, 7, 8)) < 0.8
    return values * mask, mask


def test_the_mean_is_one(grid):
    values, mask = grid
    found = mean_normalised(values, mask)
    assert found[mask].mean() == pytest.approx(1)
    assert not found[~mask].any()
    np.testing.assert_allclose(found * values[mask].mean(), values)


def test_z_scores_have_mean_zero_and_spread_one(grid):
    values, mask = grid
    found = z_scored(values, mask)
    assert found[mask].mean() == pytest.approx(0, abs=1e-12)
    assert found[mask].std(ddof=1) == pytest.approx(1)
    assert not found[~mask].any()


def test_the_zero_shell_counts_only_if_asked(grid):
    values, mask = grid
    inner = np.zeros_like(mask)
    inner[1:-1, 1:-1, 1:-1] = True
    shelled = values * inner
    found = mean_normalised(shelled, mask)
    assert found[mask & inner].mean() == pytest.approx(1)
    assert not found[~inner].any()
    assert mean_normalised(shelled, mask, count_shell=True)[mask].mean() == pytest.approx(1)
    scored = z_scored(shelled, mask)
    assert scored[mask & inner].mean() == pytest.approx(0, abs=1e-12)
    assert not scored[~inner].any()
    assert (z_scored(shelled, mask, count_shell=True)[mask & ~inner] < 0).all()


def test_single_precision_stays(grid):
    values, mask = grid
    assert mean_normalised(values.astype(np.float32), mask).dtype == np.float32
    assert z_scored(values.astype(np.float32), mask).dtype == np.float32


def test_maps_without_spread_or_level_are_refused(grid):
    _, mask = grid
    with pytest.raises(ImageError, match="mean in the mask"):
        mean_normalised(-np.ones(mask.shape), mask)
    with pytest.raises(ImageError, match="z-scores"):
        z_scored(np.ones(mask.shape), mask)
    with pytest.raises(ImageError, match="does not fit"):
        mean_normalised(np.ones((2, 2, 2)), mask)
    with pytest.raises(ImageError, match="No voxel"):
        mean_normalised(np.zeros((2, 2, 2)), np.ones((2, 2, 2)))
