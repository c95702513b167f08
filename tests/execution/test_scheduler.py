"""Which batch job this process is, and its part of the subjects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migxai.errors import UsageError
from migxai.execution.scheduler import array_part, job_name

LABELS = st.lists(st.text("abc012", min_size=1, max_size=4), unique=True, max_size=40).map(sorted)


@given(LABELS, st.integers(1, 50))
def test_parts_are_disjoint_complete_and_even(labels, total):
    parts = [array_part(f"{index}/{total}", labels) for index in range(1, total + 1)]
    assert sorted(label for part in parts for label in part) == labels
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@given(LABELS, st.integers(1, 20), st.integers(0, 5), st.integers(1, 3))
def test_schedulers_agree_with_explicit_parts(labels, total, first, step):
    for index in range(total):
        expected = array_part(f"{index + 1}/{total}", labels)
        task, last = str(first + index * step), str(first + (total - 1) * step)
        slurm = {
            "SLURM_ARRAY_TASK_ID": task,
            "SLURM_ARRAY_TASK_MIN": str(first),
            "SLURM_ARRAY_TASK_COUNT": str(total),
            "SLURM_ARRAY_TASK_STEP": str(step),
        }
        assert array_part("auto", labels, slurm) == expected
        sge = {
            "SGE_TASK_ID": task, "SGE_TASK_FIRST": str(first), "SGE_TASK_LAST": last, "SGE_TASK_STEPSIZE": str(step),
        }  # fmt: skip
        assert array_part("auto", labels, sge) == expected
        assert array_part(f"auto/{total}", labels, {"PBS_ARRAY_INDEX": str(index + 1)}) == expected


@pytest.mark.parametrize("name", ["PBS_ARRAY_INDEX", "PBS_ARRAYID"])
def test_pbs_does_not_tell_the_size_and_gets_one_subject_a_task(name):
    assert array_part("auto", ["a", "b", "c"], {name: "2"}) == ("b",)
    with pytest.raises(UsageError, match="from 1 to 3"):
        array_part("auto", ["a", "b", "c"], {name: "0"})
    with pytest.raises(UsageError, match="task 4 of an array of 3"):
        array_part("auto", ["a", "b", "c"], {name: "4"})


def test_gaps_in_an_array_are_refused_rather_than_losing_subjects():
    gaps = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "3"}
    with pytest.raises(UsageError, match="without gaps"):
        array_part("auto", list("abcdefg"), gaps)


def test_no_array_at_all():
    assert array_part(None, ["b", "a"]) == ("b", "a")
    with pytest.raises(UsageError, match="no variable"):
        array_part("auto", ["a"], {"SGE_TASK_ID": "undefined"})


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, ""),
        ({"SLURM_JOB_ID": "7"}, "SLURM 7"),
        ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}, "SLURM 7_2"),
        ({"PBS_JOBID": "7[2].head"}, "PBS 7[2].head"),
        ({"JOB_ID": "7", "SGE_TASK_ID": "2"}, "SGE 7.2"),
        ({"JOB_ID": "7", "SGE_TASK_ID": "undefined"}, "SGE 7"),
        ({"JOB_ID": "7"}, ""),
    ],
)
def test_jobs_are_named_as_their_scheduler_does(variables, name):
    assert job_name(variables) == name
