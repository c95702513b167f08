import numpy as np

from migxai.participant.interfaces.averaging import mean_facts, usable_runs, weighted_mean


def test_the_mean_is_weighted_by_length_where_both_runs_have_data():
    first, second = np.array([1.0, 2.0, 0.0, 0.0]), np.array([4.0, 0.0, 3.0, 0.0])
    mean = weighted_mean([first, second], np.array([100.0, 50.0]))
    np.testing.assert_allclose(mean, [2.0, 2.0, 3.0, 0.0], rtol=1e-6)


def test_a_region_that_no_run_covers_stays_nan():
    first, second = np.array([np.nan, np.nan, 1.0]), np.array([np.nan, 2.0, 3.0])
    mean = weighted_mean([first, second], np.array([1.0, 1.0]))
    np.testing.assert_array_equal(mean, [np.nan, 2.0, 2.0])


def test_excluded_runs_are_left_out_unless_all_are():
    assert usable_runs([{"excluded": None}, {"excluded": "moved"}]) == [0]
    assert usable_runs([{"excluded": "moved"}, {"excluded": "moved"}]) == [0, 1]


def test_counts_add_up_over_runs():
    run = {"volumes": 10, "discarded": 2, "censored": 1, "residual_dof": 12, "means": {"alff": 1.0}, "sources": ["a"]}
    other = run | {"volumes": 20, "means": {"alff": 3.0}, "sources": ["b"]}
    facts = mean_facts([run, other])
    assert (facts["volumes"], facts["residual_dof"], facts["averaged_runs"]) == (30, 24, 2)
    assert facts["means"]["alff"] == 2.0
    assert facts["sources"] == ["a", "b"]
