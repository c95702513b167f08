import numpy as np

from migxai.participant.interfaces.indicators import usable_runs, weighted_mean
from tests.participant.facts_fixtures import run_facts


def test_the_mean_is_weighted_by_length_where_both_runs_have_data():
    first, second = np.array([1.0, 2.0, 0.0, 0.0]), np.array([4.0, 0.0, 3.0, 0.0])
    mean = weighted_mean([first, second], np.array([100.0, 50.0]))
    np.testing.assert_allclose(mean, [2.0, 2.0, 3.0, 0.0], rtol=1e-6)


def test_a_region_that_no_run_covers_stays_nan():
    first, second = np.array([np.nan, np.nan, 1.0]), np.array([np.nan, 2.0, 3.0])
    mean = weighted_mean([first, second], np.array([1.0, 1.0]))
    np.testing.assert_array_equal(mean, [np.nan, 2.0, 2.0])


def test_excluded_runs_are_left_out_unless_all_are():
    still, moved = run_facts(), run_facts(excluded="moved")
    assert usable_runs([still, moved]) == [0]
    assert usable_runs([moved, moved]) == [0, 1]
