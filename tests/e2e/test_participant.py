"""The participant level through the command line, on the demo, scored against its truth."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from migxai.data import template
from tests.e2e.conftest import Finished, run
from tests.e2e.scoring import score

pytestmark = pytest.mark.xdist_group("e2e")

SPACE = "space-MNI152NLin2009cAsym"
FUNC = [
    "task-rest_desc-confounds_timeseries.tsv",
    "task-rest_from-T1w_to-boldref_mode-image_xfm.txt",
    "task-rest_from-boldref_to-T1w_mode-image_xfm.txt",
    "task-rest_from-orig_to-boldref_mode-image_xfm.txt",
    f"task-rest_{SPACE}_res-3_desc-brain_mask.nii.gz",
    f"task-rest_{SPACE}_res-3_desc-denoised_bold.nii.gz",
    *(
        f"task-rest_{SPACE}_res-3_stat-{stat}{desc}_boldmap.nii.gz"
        for stat in ("alff", "falff", "reho", "rfcs")
        for desc in ("", "_desc-raw", "_desc-zscore")
    ),
    f"task-rest_{SPACE}_atlas-AAL_stat-mean_timeseries.tsv",
    f"task-rest_{SPACE}_atlas-AAL_stat-pearsoncorrelation_relmat.tsv",
    *(f"task-rest_{SPACE}_atlas-AAL_stat-{stat}_boldmap.tsv" for stat in ("alff", "falff", "reho", "rfcs", "coverage")),
]
ANAT = [
    "desc-brain_mask.nii.gz",
    "from-MNI152NLin2009cAsym_to-T1w_mode-image_xfm.nii.gz",
    "from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.nii.gz",
]


def image(cohort: Finished, name: str, label: str = "sub-01") -> np.ndarray:
    (path,) = (cohort.output / label).rglob(f"{label}_{name}")
    return nib.load(path).get_fdata()


def digests(output: Path, label: str = "sub-01") -> dict[str, bytes]:
    whole = [*(output / label).rglob("*.*"), output / f"{label}.html"]
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in whole if path.is_file()}


def test_one_bad_subject_stops_nobody(cohort, no_network):
    assert cohort.code == 1, cohort.text
    assert "sub-03: failed" in cohort.text
    assert "cut short" in cohort.text
    assert (cohort.output / "sub-01.html").exists()
    assert (cohort.output / "sub-02.html").exists()
    code, text = run(cohort.raw, cohort.output, "participant", "--status", env=no_network)
    assert code == 1
    assert re.search(r"sub-03\b.*failed.*cut short", text), text


def test_the_files_are_those_promised(cohort):
    for folder, names in (("func", FUNC), ("anat", ANAT)):
        sidecars = [re.sub(r"\.(tsv|txt|nii\.gz)$", ".json", name) for name in names]
        wanted = sorted(f"sub-01_{name}" for name in {*names, *sidecars})
        assert sorted(path.name for path in (cohort.output / "sub-01" / folder).iterdir()) == wanted


def test_the_output_is_valid_bids(cohort):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run([validator, cohort.output], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "[ERROR]" not in done.stdout


def test_nothing_tells_of_the_machine(cohort):
    secrets = [str(cohort.raw), tempfile.gettempdir(), socket.gethostname(), str(Path.home())]
    user = getpass.getuser()
    if user != "root":  # the word also stands for the root of a tree
        secrets.append(user)
    for path in cohort.output.rglob("*"):
        if path.is_dir() or ".work" in path.parts:
            continue
        if path.name.endswith(".nii.gz"):
            header = nib.load(path).header
            assert not bytes(header["descrip"]).strip(b"\0"), path
            assert not header.extensions, path
            continue
        # Embedded pictures are noise in which a short host name turns up by chance; they are searched as files.
        text = re.sub(r"base64,[A-Za-z0-9+/=\s]+", "", path.read_text(errors="replace"))
        for secret in secrets:
            assert not re.search(rf"(?<!\w){re.escape(secret)}(?!\w)", text), (path, secret)
        assert time.strftime("%Y-%m-%d") not in text, path


def test_motion_and_anatomy_are_found(cohort):
    for label in ("sub-01", "sub-02"):
        found = score(cohort.output, cohort.truth, label)
        # Voxels of the small demo are coarse; the full size is measured by the slow test.
        assert found["realignment"] < 0.12, found
        assert found["t1w to mni"] < 1.2, found
        assert found["epi to mni"] < 2.0, found
        assert found["there and back"] < 0.2, found


def test_maps_look_like_a_brain(cohort):
    from nilearn.image import resample_to_img

    (path,) = (cohort.output / "sub-01").rglob(f"*_{SPACE}_res-3_desc-brain_mask.nii.gz")
    mask = nib.load(path).get_fdata() > 0
    priors = {
        name: resample_to_img(template(name), path, force_resample=True, copy_header=True).get_fdata()
        for name in ("GM", "WM")
    }
    grey, white = (mask & (priors[name] > 0.8) for name in ("GM", "WM"))
    for stat in ("alff", "reho"):
        values = image(cohort, f"task-rest_{SPACE}_res-3_stat-{stat}_boldmap.nii.gz")
        assert values[mask].mean() == pytest.approx(1.0, abs=1e-4)
        assert values[grey].mean() > 1.1 * values[white].mean()
        assert not values[~mask].any()


def test_forms_agree_with_each_other(cohort):
    mask = image(cohort, f"task-rest_{SPACE}_res-3_desc-brain_mask.nii.gz") > 0
    for stat in ("alff", "falff", "reho"):
        main, raw, z = (
            image(cohort, f"task-rest_{SPACE}_res-3_stat-{stat}{desc}_boldmap.nii.gz")[mask]
            for desc in ("", "_desc-raw", "_desc-zscore")
        )
        np.testing.assert_allclose(main, raw / raw.mean(), rtol=1e-4)
        np.testing.assert_allclose(z, (raw - raw.mean()) / raw.std(ddof=1), atol=1e-3)


def test_rfcs_follows_from_the_series(cohort):
    from migxai.signal import rfcs

    folder = cohort.output / "sub-01" / "func"
    stem = f"sub-01_task-rest_{SPACE}_atlas-AAL_stat"
    series = pd.read_csv(folder / f"{stem}-mean_timeseries.tsv", sep="\t", na_values="n/a")
    table = pd.read_csv(folder / f"{stem}-rfcs_boldmap.tsv", sep="\t", na_values="n/a")
    assert len(table) == 116
    np.testing.assert_allclose(table["rfcs"], rfcs(series.to_numpy()), atol=1e-6)
    painted = image(cohort, f"task-rest_{SPACE}_res-3_stat-rfcs_boldmap.nii.gz")
    assert set(np.unique(painted.astype(np.float32)[painted != 0])) == set(table["rfcs"].astype(np.float32))


def test_sidecars_name_what_was_done(cohort):
    (path,) = sorted((cohort.output / "sub-01").rglob("*res-3_stat-alff_boldmap.json"))
    content = json.loads(path.read_text())
    assert content["Definition"] == "rest"
    assert content["FrequencyBand"] == [0.01, 0.08]
    assert content["NumberOfVolumesDiscarded"] == 10
    assert content["SliceTimingCorrected"] is True
    assert content["Excluded"] is False
    assert "bids:raw:sub-01/func/sub-01_task-rest_bold.nii.gz" in content["Sources"]


def test_the_same_bytes_again_killed_half_way_and_with_other_threads(cohort, no_network, tmp_path):
    arguments = [cohort.raw, tmp_path / "out", "participant", "--participant-label", "01", "--forms", "raw", "zscore"]
    arguments += ["-w", tmp_path / "work", "--nprocs", "1"]
    command = [sys.executable, "-m", "migxai", *map(str, arguments)]
    with subprocess.Popen(command, env=no_network, stdout=subprocess.PIPE, text=True, start_new_session=True) as begun:
        for line in begun.stdout:
            if "normalise" in line:
                break
        time.sleep(3)
        begun.send_signal(signal.SIGKILL)
    code, text = run(*arguments, env=no_network)
    assert code == 0, text
    assert digests(tmp_path / "out") == digests(cohort.output)
    assert not (tmp_path / "work" / "sub-01").exists(), "the work directory of a finished subject is removed"
    code, text = run(*arguments, env=no_network)
    assert code == 0
    assert "complete" in text
    assert "normalise" not in text, "what is complete is not computed again"


def test_after_fmriprep(cohort, no_network, tmp_path):
    """Our own preprocessed series, dressed as fMRIPrep's, gives close to the same maps."""
    source = cohort.output / "sub-01" / "func"
    stem = "sub-01_task-rest"
    folder = tmp_path / "fmriprep" / "sub-01" / "func"
    folder.mkdir(parents=True)
    description = {"Name": "x", "BIDSVersion": "1.8.0", "DatasetType": "derivative"}
    description["GeneratedBy"] = [{"Name": "fMRIPrep", "Version": "23.2.0"}]
    (tmp_path / "fmriprep" / "dataset_description.json").write_text(json.dumps(description))
    mask = nib.load(source / f"{stem}_{SPACE}_res-3_desc-brain_mask.nii.gz")
    denoised = nib.load(source / f"{stem}_{SPACE}_res-3_desc-denoised_bold.nii.gz")
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 0.1, denoised.shape) * (mask.get_fdata() > 0)[..., None]
    series = nib.Nifti1Image((denoised.get_fdata() + noise + 1000).astype(np.float32), mask.affine)
    series.header.set_xyzt_units("mm", "sec")
    series.header["pixdim"][4] = 2.0
    name = f"{stem}_{SPACE}_res-3"
    series.to_filename(folder / f"{name}_desc-preproc_bold.nii.gz")
    (folder / f"{name}_desc-preproc_bold.json").write_text(json.dumps({"RepetitionTime": 2.0}))
    shutil.copy(source / f"{stem}_{SPACE}_res-3_desc-brain_mask.nii.gz", folder / f"{name}_desc-brain_mask.nii.gz")
    confounds = pd.read_csv(source / f"{stem}_desc-confounds_timeseries.tsv", sep="\t", na_values="n/a")
    confounds.drop(columns="kept").to_csv(
        folder / f"{stem}_desc-confounds_timeseries.tsv", sep="\t", na_rep="n/a", index=False
    )
    arguments = [cohort.raw, tmp_path / "out", "participant", "-d", f"fmriprep={tmp_path / 'fmriprep'}"]
    code, text = run(*arguments, "--dummy-scans", "0", env=no_network)
    assert code == 0, text
    ours = image(cohort, f"task-rest_{SPACE}_res-3_stat-reho_boldmap.nii.gz")
    (path,) = (tmp_path / "out").rglob("*_stat-reho_boldmap.nii.gz")
    theirs = nib.load(path).get_fdata()
    assert theirs.shape == ours.shape
    inside = (ours > 0) & (theirs > 0)
    assert np.corrcoef(ours[inside], theirs[inside])[0, 1] > 0.9
    assert (tmp_path / "out" / "sub-01.html").exists()
    participants = pd.read_csv(tmp_path / "out" / "participants.tsv", sep="\t")
    assert participants["group"].notna().all()
