from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from migxai.participant.sizes import run_sizes


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
    assert sorted(run_sizes(root, "01")) == [16, 24, 840]
    assert run_sizes(root, "03", "rest") == []


def test_of_fmripreps_series_only_those_in_template_space_count(root):
    assert run_sizes(root, "02", "rest") == [81]


def test_what_is_no_image_is_left_out(root):
    (root / "sub-01/func/sub-01_task-rest_run-2_bold.nii.gz").write_bytes(b"not an image")
    assert run_sizes(root, "01", "rest") == [840, 24]
