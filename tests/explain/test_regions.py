"""Regions of maps, and the plain test against scipy and statsmodels' textbook form of the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from migxai.errors import AtlasError
from migxai.explain.regions import LEAST_VOXELS, compare_groups, mean_by_region, region_p, region_table

NAMES = {3: "Cuneus_L", 7: "Temporal_Mid_R", 9: "Frontal_Sup_L", 11: "Vermis_3"}


@pytest.fixture
def brain():
    """Ten voxels in each of three regions, one in a fourth, ten in none."""
    labels = np.repeat([3, 7, 9, 11, 0], [10, 10, 10, 1, 10])
    positions = np.column_stack([np.where(labels == 7, 30.0, -30.0), np.arange(41.0), np.full(41, 6.0)])
    return labels, positions


def test_regions_are_described(brain):
    labels, positions = brain
    row = np.where(labels == 3, 1.0, 0.0) + np.where(labels == 7, -3.0, 0.0)
    row[4] = 5.0
    table = region_table(row, labels, NAMES, positions).set_index("region")
    assert table.loc["Cuneus_L", "mean"] == pytest.approx(1.4)
    assert table.loc["Cuneus_L", "peak"] == 5.0
    assert table.loc["Cuneus_L", ["peak_x", "peak_y", "peak_z"]].tolist() == [-30.0, 4.0, 6.0]
    assert table.loc["Cuneus_L", "hemisphere"] == "left"
    assert table.loc["Temporal_Mid_R", "hemisphere"] == "right"
    assert table["rank"].dropna().to_dict() == {"Cuneus_L": 1, "Frontal_Sup_L": 2, "Temporal_Mid_R": 3}
    assert table["paper"].to_dict() == {
        "Cuneus_L": True,
        "Temporal_Mid_R": False,
        "Frontal_Sup_L": True,
        "Vermis_3": False,
    }
    two_sided = region_table(row, labels, NAMES, positions, two_sided=True).set_index("region")
    assert two_sided.loc["Temporal_Mid_R", "rank"] == 1


def test_the_top_decile_adds_up_to_no_more_than_one(brain):
    labels, positions = brain
    row = np.random.default_rng(0).standard_normal(len(labels))
    share = region_table(row, labels, NAMES, positions)["top_decile"].dropna()
    assert 0 <= share.sum() <= 1


def test_a_region_that_slices_hardly_show_has_no_values(brain):
    labels, positions = brain
    table = region_table(np.ones(len(labels)), labels, NAMES, positions).set_index("region")
    assert LEAST_VOXELS > 1
    assert table.loc["Vermis_3", "n_voxels"] == 1
    assert table.loc["Vermis_3", ["mean", "rank", "peak"]].isna().all()
    assert np.isnan(mean_by_region(np.ones((2, len(labels))), labels, (11,))).all()


def test_an_atlas_elsewhere_is_refused(brain):
    labels, positions = brain
    with pytest.raises(AtlasError, match="No region of the atlas"):
        region_table(np.ones(len(labels)), np.zeros_like(labels), NAMES, positions)


@settings(max_examples=25, deadline=None)
@given(first=st.integers(2, 12), second=st.integers(2, 12), seed=st.integers(0, 2**16))
def test_one_site_is_students_t(first, second, seed):
    values = np.random.default_rng(seed).standard_normal((first + second, 4)) * [1, 1e-6, 1e6, 1] + [0, 0, 0, 50]
    group = np.arange(first + second) >= first
    found = compare_groups(values, group)
    theirs = stats.ttest_ind(values[group], values[~group])
    np.testing.assert_allclose(found.t, theirs.statistic, rtol=1e-6)
    np.testing.assert_allclose(found.p, theirs.pvalue, rtol=1e-6)
    np.testing.assert_allclose(found.p_fdr, stats.false_discovery_control(theirs.pvalue), rtol=1e-6)
    assert (found.df == first + second - 2).all()


def test_a_scanner_that_shifts_everything_changes_nothing():
    rng = np.random.default_rng(1)
    values, group, sites = rng.standard_normal((40, 3)), np.arange(40) % 3 == 0, np.array(["a", "b"])[np.arange(40) % 2]
    shifted = values + np.where(sites == "b", 100.0, 0.0)[:, None]
    np.testing.assert_allclose(
        compare_groups(values, group, list(sites)).t, compare_groups(shifted, group, list(sites)).t, rtol=1e-6
    )
    assert np.abs(compare_groups(shifted, group).t).max() < 1, "without sites the shift drowns all else"


def test_missing_values_leave_out_that_person_there_only():
    values = np.random.default_rng(2).standard_normal((12, 2))
    group = np.arange(12) >= 6
    holes = values.copy()
    holes[[0, 8], 0] = np.nan
    found = compare_groups(holes, group)
    kept = np.delete(np.arange(12), [0, 8])
    assert found.t[0] == pytest.approx(stats.ttest_ind(values[kept][4 + 1 :, 0], values[kept][: 4 + 1, 0]).statistic)
    assert found.t[1] == pytest.approx(compare_groups(values, group).t[1])
    assert found.df.tolist() == [8, 10]


def test_what_cannot_be_tested_is_nan():
    values = np.column_stack([np.ones(8), np.r_[np.nan, np.nan, np.nan, 1.0, 2, 3, 4, 5]])
    group = np.arange(8) >= 4
    assert np.isnan(compare_groups(values, group).t).all(), "constant, and one person of a group"
    by_site = compare_groups(np.random.default_rng(0).standard_normal((8, 1)), group, ["a"] * 4 + ["b"] * 4)
    assert np.isnan(by_site.p).all(), "group and site are one"


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
