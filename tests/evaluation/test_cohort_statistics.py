"""A cohort's statistics against published examples, SciPy and hand calculation."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from migxai.errors import InputError
from migxai.evaluation.cohort_statistics import cramers_v, describe_cohort, independence, kruskal_wallis
from migxai.metrics.inference import holm


def test_kruskal_wallis_equals_published_examples():
    # Hollander & Wolfe 1973, as in R's documentation of kruskal.test: mucociliary efficiency.
    lungs = [[2.9, 3.0, 2.5, 2.6, 3.2], [3.8, 2.7, 4.0, 2.4], [2.8, 3.4, 3.7, 2.2, 2.0]]
    found = kruskal_wallis([np.array(one) for one in lungs])
    assert found.statistic == pytest.approx(0.77143, abs=5e-6)
    assert (found.df, round(found.p, 4)) == (2, 0.68)
    # Mangiafico, Summary and Analysis of Extension Program Evaluation in R: ratings of three speakers, with ties.
    ratings = [
        [3, 5, 4, 4, 4, 4, 4, 4, 5, 5],
        [2, 4, 2, 2, 1, 2, 3, 2, 2, 3],
        [4, 4, 4, 4, 5, 3, 5, 4, 4, 3],
    ]
    found = kruskal_wallis([np.array(one) for one in ratings])
    assert found.statistic == pytest.approx(16.842, abs=5e-4)
    assert found.p == pytest.approx(0.0002202, abs=5e-8)
    assert found.effect == pytest.approx(0.581, abs=5e-4)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(2, 30))
def test_two_groups_are_mann_whitneys(seed, m, n):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 8, m).astype(float), rng.integers(0, 8, n).astype(float)
    found = kruskal_wallis([a, b])
    if np.ptp(np.r_[a, b]) == 0:
        assert found.note == "not tested: all values are equal"
        return
    expected = stats.mannwhitneyu(a, b, method="asymptotic", use_continuity=False)
    # Near p = 1 it depends on the root of the statistic, so that rounding of 1e-16 there is 1e-8 here.
    assert found.p == pytest.approx(expected.pvalue, abs=1e-7)
    assert "Mann-Whitney" in found.note
    assert -1e-12 <= found.effect <= 1 + 1e-12


def test_fisher_equals_published_examples():
    # Fisher's tea drinker, and job satisfaction by income (Agresti 2002, p. 57); p as R's documentation prints them.
    tea = independence([[3, 1], [1, 3]])
    assert (tea.name, round(tea.p, 4)) == ("Fisher", 0.4857)
    job = independence([[1, 2, 1, 0], [3, 3, 6, 1], [10, 10, 14, 9], [6, 7, 12, 11]])
    assert job.name == "Fisher-Freeman-Halton"
    assert job.p == pytest.approx(0.7827, abs=4 * np.sqrt(0.7827 * 0.2173 / 99_999))
    assert "99999 random tables" in job.note
    assert job == independence([[1, 2, 1, 0], [3, 3, 6, 1], [10, 10, 14, 9], [6, 7, 12, 11]])


def test_fisher_of_very_few_people_by_hand():
    # The one person of the second row is in the first column of two, or in the second or third of one each.
    assert independence([[2, 1, 0], [0, 0, 1]]).p == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(99_999))
    assert independence([[1, 1, 1], [1, 0, 0]]).p == 1.0


def test_sex_in_the_papers_table_1():
    found = independence([[7, 4, 13], [14, 11, 15]])
    assert (found.name, found.df) == ("chi-square", 2)
    assert found.statistic == pytest.approx(1.859, abs=5e-4)
    # The paper prints .40: that is Kruskal-Wallis on sex as a number, as its note says; chi-square gives .39.
    assert round(found.p, 2) == 0.39
    assert round(stats.kruskal([0] * 7 + [1] * 14, [0] * 4 + [1] * 11, [0] * 13 + [1] * 15).pvalue, 2) == 0.40


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(2, 4))
def test_chi_square_and_cramers_v_equal_scipys(seed, rows, columns):
    table = np.random.default_rng(seed).integers(8, 40, (rows, columns))
    found = independence(table.tolist())
    expected = stats.chi2_contingency(table, correction=False)
    if expected.expected_freq.min() >= 5:
        assert (found.statistic, found.p, found.df) == pytest.approx(
            (expected.statistic, expected.pvalue, expected.dof)
        )
    n = table.sum()
    phi = stats.contingency.association(table, method="cramer") ** 2 * (min(rows, columns) - 1)
    corrected = max(0, phi - (rows - 1) * (columns - 1) / (n - 1))
    sizes = [k - (k - 1) ** 2 / (n - 1) for k in (rows, columns)]
    assert found.effect == pytest.approx(np.sqrt(corrected / (min(sizes) - 1)))


def test_cramers_v_is_about_0_for_none_and_1_for_complete_association():
    assert cramers_v(0.0, (3, 3), 100) == 0
    assert cramers_v(200.0, (2, 2), 200) == pytest.approx(1, abs=0.01)


def test_empty_rows_and_single_values_are_not_tested():
    assert independence([[5, 6], [0, 0]]).note.startswith("not tested")
    assert independence([]).note.startswith("not tested")
    assert independence([[20, 30], [0, 0], [25, 15]]).df == 1
    assert kruskal_wallis([np.array([1.0, 2.0]), np.array([])]).note.startswith("not tested")


@pytest.fixture
def participants():
    rng = np.random.default_rng(1)
    group = ["HC"] * 28 + ["MWoA"] * 21 + ["MWA"] * 15 + [None]
    table = pd.DataFrame(
        {
            "participant_id": [f"sub-{i:02d}" for i in range(65)],
            "group": group,
            "age": rng.normal(30, 5, 65),
            "sex": ["M"] * 13 + ["F"] * 15 + ["M"] * 7 + ["F"] * 14 + ["M"] * 4 + ["F"] * 11 + ["F"],
            "handed": 1,
            "smokes": rng.random(65) < 0.3,
            "site": rng.choice(["A", "B", "C"], 65),
            "comment": [f"text {i}" for i in range(65)],
        }
    )
    table.loc[[0, 1, 30], "age"] = np.nan
    return table


def test_a_cohort(participants):
    found = {one.name: one for one in describe_cohort(participants, "group")}
    assert list(found) == ["age", "sex", "handed", "smokes", "site", "comment"]
    age = found["age"]
    assert age.kind == "continuous"
    assert age.n == {"HC": 26, "MWA": 15, "MWoA": 20}
    assert age.missing == {"HC": 2, "MWA": 0, "MWoA": 1}
    held = participants.loc[participants["group"] == "MWA", "age"]
    assert age.quartiles["MWA"] == pytest.approx(held.quantile([0.25, 0.5, 0.75]).tolist())
    samples = [participants.loc[participants["group"] == name, "age"].dropna() for name in ("HC", "MWA", "MWoA")]
    assert age.test.p == pytest.approx(stats.kruskal(*samples).pvalue)
    assert age.test.effect == pytest.approx(age.test.statistic / 60)
    assert found["sex"].counts["M"] == {"HC": 13, "MWoA": 7, "MWA": 4}
    assert found["sex"].test.name == "chi-square"
    assert found["site"].kind == "categorical"
    assert found["smokes"].kind == "categorical"
    assert found["handed"].test.note.startswith("not tested")
    assert found["comment"].test.note == "not tested: 64 different values"
    tested = [one for one in found.values() if np.isfinite(one.test.p)]
    assert [one.p_adjusted for one in tested] == pytest.approx(holm([one.test.p for one in tested]))
    assert np.isnan(found["comment"].p_adjusted)


def test_order_of_groups_and_variables(participants):
    found = describe_cohort(participants[["sex", "group", "age"]], "group", groups=["MWoA", "MWA"])
    assert [one.name for one in found] == ["sex", "age"]
    assert list(found[0].n) == ["MWoA", "MWA"]
    assert found[1].test.note.startswith("two groups")


def test_bad_tables_get_a_sentence(participants):
    with pytest.raises(InputError, match="no column 'diagnosis'"):
        describe_cohort(participants, "diagnosis")
    with pytest.raises(InputError, match="two groups"):
        describe_cohort(participants[participants["group"] == "HC"], "group")
