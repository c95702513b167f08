from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migxai.config import Config, Run
from migxai.participant.interfaces.denoising import Denoise, MeasureConfounds
from migxai.participant.interfaces.derivatives import DrawRun, WriteRun
from migxai.participant.interfaces.indicators import ComputeIndicators
from migxai.participant.interfaces.preparation import PrepareBold, Realign, ResampleBold
from migxai.participant.resources import estimate, run_sizes, subject_demand

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


#: Peak in GB of each step of an 80 x 80 x 35 x 156 series, each in a process of its own, by the kernel's account.
STEPS = [
    (PrepareBold, 0.305), (Realign, 0.712), (ResampleBold, 0.433), (MeasureConfounds, 0.201), (Denoise, 0.245),
    (ComputeIndicators, 0.337), (WriteRun, 0.356), (DrawRun, 0.399),
]  # fmt: skip


@pytest.mark.parametrize(("step", "peak"), STEPS)
def test_steps_ask_for_what_they_were_measured_to_need(step, peak):
    asked = step.memory.gb((80, 80, 35, 156), 3.0)
    assert peak <= asked <= 2 * peak
    assert step.memory.gb((80, 80, 35, 624), 3.0) > asked
    assert step.memory.gb((), 3.0) >= 0.2


def test_small_series_are_realigned_in_no_less_than_was_seen():
    # 0.528 GB and more were used for this one; SLURM killed what had asked for less.
    assert Realign.memory.gb((42, 50, 32, 150), 3.0) >= 0.6


def test_finer_voxels_need_more_after_resampling_alone():
    shape, draw, realign = (80, 80, 35, 156), DrawRun.memory, Realign.memory
    assert draw.gb(shape, 2.0) > draw.gb(shape, 3.0)
    assert realign.gb(shape, 2.0) == realign.gb(shape, 3.0)
    assert draw.gb((160, 160, 70, 156), None) > draw.gb(shape, None)


@pytest.fixture
def root(tmp_path):
    def image(path, shape):
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.Nifti1Image(np.zeros(shape, np.int16), np.eye(4)).to_filename(path)

    image(tmp_path / "sub-01/func/sub-01_task-rest_bold.nii.gz", (4, 5, 6, 7))
    image(tmp_path / "sub-01/ses-a/func/sub-01_ses-a_task-rest_bold.nii", (2, 2, 2, 3))
    image(tmp_path / "sub-01/func/sub-01_task-nback_bold.nii.gz", (2, 2, 2, 2))
    image(tmp_path / "sub-02/func/sub-02_task-rest_space-T1w_desc-preproc_bold.nii.gz", (2, 2, 2, 2))
    image(tmp_path / "sub-02/func/sub-02_task-rest_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz", (3, 3, 3, 3))
    return tmp_path


def test_sizes_are_those_of_the_headers(root):
    assert run_sizes(root, "01", "rest") == [840, 24]
    assert run_sizes(root, "01", "nback") == [16]
    assert run_sizes(root, "03", "rest") == []


def test_of_fmripreps_series_only_those_in_template_space_count(root):
    assert run_sizes(root, "02", "rest") == [81]


def test_what_is_no_image_is_left_out(root):
    (root / "sub-01/func/sub-01_task-rest_run-2_bold.nii.gz").write_bytes(b"not an image")
    assert run_sizes(root, "01", "rest") == [840, 24]


def test_the_largest_subject_decides(root):
    (root / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.8.0"}))
    config = Config(run=Run(bids_dir=root))
    assert estimate(config, ["02", "01"]) == subject_demand([840, 24], after_fmriprep=False)
    assert estimate(config, ["03"]) is None
