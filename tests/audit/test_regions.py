import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from migxai.audit.regions import region_p


def test_p_counts_permutations_that_reach_as_much_here_and_anywhere():
    null = np.array([[0.0, 5.0], [1.0, -9.0], [2.0, 0.0]])
    p, p_fwe = region_p(np.array([2.0, 4.0]), null, two_sided=False)
    np.testing.assert_allclose(p, [2 / 4, 2 / 4])
    np.testing.assert_allclose(p_fwe, [3 / 4, 2 / 4])
    p, p_fwe = region_p(np.array([-2.0, 4.0]), null, two_sided=True)
    np.testing.assert_allclose(p, [2 / 4, 3 / 4])
    np.testing.assert_allclose(p_fwe, [4 / 4, 3 / 4])


def test_a_region_without_a_value_has_no_p():
    p, p_fwe = region_p(np.array([np.nan, 1.0]), np.array([[np.nan, 0.0]]), two_sided=False)
    assert np.isnan([p[0], p_fwe[0]]).all()
    assert (p[1], p_fwe[1]) == (0.5, 0.5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), permutations=st.integers(1, 30))
def test_correction_never_makes_p_smaller(seed, permutations):
    rng = np.random.default_rng(seed)
    p, p_fwe = region_p(rng.standard_normal(6), rng.standard_normal((permutations, 6)), two_sided=False)
    assert (p_fwe >= p).all()
    assert (p >= 1 / (1 + permutations)).all()
