from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migxai.bids.subjects import array_part, dataset_root, select_subjects
from migxai.cli.parser import parse
from migxai.errors import InputError, UsageError

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


def selected(root, *arguments):
    return select_subjects(parse([str(root), "/out", "participant", *arguments]).config)


def test_subjects_by_label_and_glob(dataset):
    root = dataset("01", "02", "10")
    assert selected(root) == ("01", "02", "10")
    assert selected(root, "--participant-label", "sub-0*", "10") == ("01", "02", "10")
    assert selected(root, "--participant-label", "0?") == ("01", "02")
    with pytest.raises(UsageError, match="No participant '1'"):
        selected(root, "--participant-label", "1")
    with pytest.raises(UsageError, match="No task 'nback'"):
        selected(root, "-t", "nback")


def test_subjects_of_the_derivative_that_is_processed(dataset, tmp_path):
    raw, prep = dataset("01", "02"), dataset("02", root=tmp_path / "prep")
    assert selected(raw, "-d", f"fmriprep={prep}") == ("02",)
    description = {"Name": "x", "BIDSVersion": "1.9.0", "GeneratedBy": [{"Name": "fMRIPrep"}]}
    (prep / "dataset_description.json").write_text(json.dumps(description))
    config = parse([str(raw), "/out", "participant", "-d", f"mine={prep}"]).config
    assert dataset_root(config) == prep


def test_no_dataset(tmp_path):
    with pytest.raises(InputError):
        selected(tmp_path)
