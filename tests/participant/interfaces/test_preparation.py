import dataclasses
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from migxai.bids.inputs import RawRun
from migxai.config import Config, Preprocessing
from migxai.errors import DenoisingError, ImageError, TimingError
from migxai.participant.interfaces.denoising import require_length
from migxai.participant.interfaces.preparation import PrepareBold, time_slices, volumes_to_drop


def series(volumes: int = 40) -> np.ndarray:
    rng = np.random.default_rng(1)
    return (1000 + rng.normal(0, 1, (4, 4, 5, volumes))).astype(np.float32)


def test_dropping_more_than_there_is_is_refused():
    with pytest.raises(ImageError, match="has 8 volumes, and 10 are to be dropped"):
        volumes_to_drop(series(8), Preprocessing(), "bold.nii.gz")


def test_auto_drops_what_is_too_bright():
    data = series()
    data[..., :3] += np.array([300, 100, 40], dtype=np.float32)
    assert volumes_to_drop(data, Preprocessing(dummy_scans="auto"), "bold.nii.gz") == 3


def test_a_run_too_short_for_its_band_is_refused_early():
    with pytest.raises(DenoisingError, match="too short"):
        require_length(20, 2.0, Config(), "bold.nii.gz")
    require_length(170, 2.0, Config(), "bold.nii.gz")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, "no SliceTiming"),
        ({"SliceTiming": [0.0, 0.5, 1.0]}, "3 times, but the image has 5 slices"),
        ({"SliceTiming": [0.0, 400.0, 800.0, 1200.0, 1600.0]}, "milliseconds"),
    ],
)
def test_impossible_timing_is_skipped_with_a_sentence_or_forced_to_fail(metadata, words):
    data = series()
    before = data.copy()
    note, done = time_slices(data, metadata, 2.0, Preprocessing(), "bold.nii.gz")
    assert not done
    assert words in note
    np.testing.assert_array_equal(data, before)
    force = dataclasses.replace(Preprocessing(), slice_timing="force")
    with pytest.raises(TimingError, match="force"):
        time_slices(data, metadata, 2.0, force, "bold.nii.gz")


def test_good_timing_is_corrected_in_place():
    data = series()
    before = data.copy()
    note, done = time_slices(data, {"SliceTiming": [0.0, 0.4, 0.8, 1.2, 1.6]}, 2.0, Preprocessing(), "bold.nii.gz")
    assert done
    assert "0.5" in note
    assert not np.array_equal(data, before)


def test_what_is_odd_about_a_file_reaches_the_run(tmp_path):
    data = series(180) + np.arange(5, dtype=np.float32)[:, None]
    image = nib.Nifti1Image(data, np.diag([3.0, 3, 3, 1]))
    image.set_qform(None, 0)
    image.set_sform(None, 0)
    image.header["pixdim"][4] = 2.0
    image.header.set_xyzt_units("mm", "sec")
    image.to_filename(tmp_path / "bold.nii")
    run = RawRun({"sub": "01"}, tmp_path / "bold.nii", {"RepetitionTime": 2.0}, None, ())
    step = PrepareBold(run=run, config=Config())
    step._run_interface(SimpleNamespace(cwd=tmp_path))
    assert "no orientation" in step._results["acquisition"].messages[0]
