from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migxai.workflows.demand import Demand, most, series_gb, subject_demand

SIZES = st.lists(st.integers(1, 10**9), min_size=1, max_size=5)

#: Voxels times volumes, peak in GB and seconds on two cores, as measured (see docs/clusters.md).
MEASURED = [
    (False, 80 * 80 * 35 * 156, 2.1, 103),
    (False, 80 * 80 * 35 * 312, 2.1, None),
    (False, 160 * 160 * 35 * 156, 2.2, None),
    (True, 97 * 115 * 97 * 156, 1.2, 30),
]


@pytest.mark.parametrize(("after_fmriprep", "size", "memory", "seconds"), MEASURED)
def test_estimates_are_within_a_quarter_of_what_was_measured(after_fmriprep, size, memory, seconds):
    found = subject_demand([size], after_fmriprep=after_fmriprep)
    assert found.memory_gb == pytest.approx(memory, rel=0.25)
    assert seconds is None or found.seconds == pytest.approx(seconds, rel=0.1)


@given(SIZES, st.integers(1, 10**9), st.booleans())
def test_more_data_never_need_less(sizes, more, after_fmriprep):
    few = subject_demand(sizes, after_fmriprep=after_fmriprep)
    many = subject_demand([*sizes, more], after_fmriprep=after_fmriprep)
    assert many.memory_gb >= few.memory_gb
    assert many.seconds > few.seconds


@given(SIZES, st.booleans())
def test_runs_take_turns_in_memory_and_add_up_in_time(sizes, after_fmriprep):
    one = subject_demand([max(sizes)], after_fmriprep=after_fmriprep)
    two = subject_demand([*sizes, *sizes], after_fmriprep=after_fmriprep)
    assert two.memory_gb == one.memory_gb
    assert two.seconds >= one.seconds


def test_the_largest_subject_decides():
    assert most([Demand(2.0, 50.0), Demand(1.0, 90.0)]) == Demand(2.0, 90.0)


def test_steps_are_given_tenths_of_gigabytes():
    assert series_gb(0) == 0.5
    assert series_gb(80 * 80 * 35 * 156) == pytest.approx(1.0)
    assert series_gb(10**9) > series_gb(10**8)
