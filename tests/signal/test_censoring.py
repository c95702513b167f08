"""Which volumes are kept, and what bridges the others."""

import numpy as np
import pytest

from migxai.errors import DenoisingError, UsageError
from migxai.signal import kept_volumes, require_unbroken
from migxai.signal.censoring import interpolation_matrix


def test_volumes_beyond_the_threshold_are_left_out():
    kept = kept_volumes([np.nan, 0.1, 0.5, 0.6, 0.2], 0.5, repetition_time=2.0)
    assert kept.tolist() == [True, True, True, False, True]


def test_too_short_a_rest_is_refused():
    displacement = [0.0, 0.1, 0.9, 0.9]
    assert kept_volumes(displacement, 0.5, repetition_time=2.0, minimum_time=4.0).sum() == 2
    with pytest.raises(DenoisingError, match="Only 4 s are left"):
        kept_volumes(displacement, 0.5, repetition_time=2.0, minimum_time=5.0)
    with pytest.raises(UsageError, match="positive"):
        kept_volumes(displacement, 0.0, repetition_time=2.0)


def test_gaps_are_refused_by_name():
    require_unbroken(np.ones(5, dtype=bool), "ALFF")
    with pytest.raises(UsageError, match="ALFF needs an unbroken series, but 2 volumes"):
        require_unbroken(np.array([True, False, True, False]), "ALFF")


def test_gaps_are_bridged_and_ends_held():
    kept = np.ones(40, dtype=bool)
    kept[[0, 1, 15, 16, 39]] = False
    curve = np.linspace(-1, 2, 40) ** 3
    found = interpolation_matrix(kept) @ np.where(kept, curve, 1e6)
    np.testing.assert_allclose(found[2:39], curve[2:39], atol=1e-9)
    assert found[0] == found[1] == curve[2]
    assert found[39] == curve[38]
    np.testing.assert_allclose(interpolation_matrix(kept).sum(axis=1), 1.0)
    with pytest.raises(DenoisingError, match="Only 3 volumes"):
        interpolation_matrix(np.arange(40) < 3)
