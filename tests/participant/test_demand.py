from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migxai.participant.demand import Demand, most, step_gb, subject_demand

SIZES = st.lists(st.integers(1, 10**9), min_size=1, max_size=5)

#: Voxels times volumes, peak in GB and seconds on two cores, as measured (see docs/clusters.md).
MEASURED = [
    (False, 80 * 80 * 35 * 156, 2.4, 95),
    (False, 160 * 160 * 35 * 156, 2.6, None),
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


#: Peak in GB of each step of an 80 x 80 x 35 x 156 series, each in a process of its own, by the kernel's account.
STEPS = {
    "prepare": 0.305, "realign": 0.712, "resample": 0.433, "confounds": 0.201, "denoise": 0.245, "indicators": 0.337,
    "write": 0.356, "draw": 0.399,
}  # fmt: skip


@pytest.mark.parametrize(("step", "peak"), STEPS.items())
def test_steps_ask_for_what_they_were_measured_to_need(step, peak):
    asked = step_gb(step, (80, 80, 35, 156), 3.0)
    assert peak <= asked <= 2 * peak
    assert step_gb(step, (80, 80, 35, 624), 3.0) > asked
    assert step_gb(step, (), 3.0) >= 0.2


def test_small_series_are_realigned_in_no_less_than_was_seen():
    # 0.528 GB and more were used for this one; SLURM killed what had asked for less.
    assert step_gb("realign", (42, 50, 32, 150), 3.0) >= 0.6


def test_finer_voxels_need_more_after_resampling_alone():
    shape = (80, 80, 35, 156)
    assert step_gb("draw", shape, 2.0) > step_gb("draw", shape, 3.0)
    assert step_gb("realign", shape, 2.0) == step_gb("realign", shape, 3.0)
    assert step_gb("draw", (160, 160, 70, 156), None) > step_gb("draw", shape, None)
