from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from migxai.bids.fmriprep import count_non_steady_state, is_fmriprep, read_confounds
from migxai.bids.inputs import collect_inputs
from migxai.config import Config
from migxai.errors import InputError, UsageError

NLIN6 = "space-MNI152NLin6Asym_res-2"
NLIN2009 = "space-MNI152NLin2009cAsym"


def configured(root: Path, **preprocessing) -> Config:
    return Config().replace("run", bids_dir=root).replace("preprocessing", **preprocessing)


def test_an_fmriprep_dataset_is_recognised_by_itself(fmriprep):
    inputs = collect_inputs(configured(fmriprep()))
    assert inputs.mode == "fmriprep"
    run = inputs.subjects[1].runs[0]
    assert run.entities == {"sub": "02", "task": "rest"}
    assert run.mask.name == "sub-02_task-rest_space-MNI152NLin2009cAsym_desc-brain_mask.nii.gz"
    assert run.confounds.name == "sub-02_task-rest_desc-confounds_timeseries.tsv"
    assert (run.space, run.resolution, run.metadata["RepetitionTime"]) == ("MNI152NLin2009cAsym", None, 2.0)
    assert all(uri.startswith("bids:fmriprep:sub-02/func/") for uri in run.sources)


def test_it_can_be_given_beside_the_raw_dataset(fmriprep, raw):
    root, prep = raw({"01": ["task-rest"], "02": ["task-rest"]}), fmriprep()
    config = configured(root).replace("run", derivatives=(("fmriprep", prep),))
    inputs = collect_inputs(config)
    assert (inputs.mode, inputs.root, inputs.participants.root) == ("fmriprep", prep, root)
    assert [source.link for source in inputs.sources] == ["fmriprep", "raw"]


def test_a_derivative_that_is_not_there_is_a_usage_error(raw, tmp_path):
    config = configured(raw()).replace("run", derivatives=(("fmriprep", tmp_path / "none"),))
    with pytest.raises(UsageError, match="not a directory"):
        collect_inputs(config)


def test_a_foreign_derivative_as_bids_dir_is_refused(fmriprep):
    about = {"Name": "x", "BIDSVersion": "1.9.0", "DatasetType": "derivative", "GeneratedBy": [{"Name": "other"}]}
    with pytest.raises(InputError, match="fMRIPrep did not make"):
        collect_inputs(configured(fmriprep(description=about)))


def test_the_old_description_is_understood():
    assert is_fmriprep({"Name": "x", "PipelineDescription": {"Name": "fMRIPrep"}})
    assert not is_fmriprep({"Name": "fMRIPrep", "GeneratedBy": [{"Name": "xcp_d"}]})


def test_the_preferred_space_is_chosen_with_a_message(fmriprep):
    root = fmriprep((NLIN6, NLIN2009, f"{NLIN2009}_res-1"))
    inputs = collect_inputs(configured(root))
    assert inputs.subjects[0].runs[0].space == "MNI152NLin2009cAsym"
    assert inputs.subjects[0].runs[0].resolution is None
    assert "MNI152NLin6Asym:res-2" in inputs.messages[0]
    assert "MNI152NLin2009cAsym:res-native is used" in inputs.messages[0]


@pytest.mark.parametrize(
    ("space", "resolution"),
    [("MNI152NLin6Asym", "2"), ("MNI152NLin6Asym:res-2", "2"), ("MNI152NLin2009cAsym:res-native", None)],
)
def test_a_space_can_be_asked_for(fmriprep, space, resolution):
    run = collect_inputs(configured(fmriprep((NLIN6, NLIN2009)), space=space)).subjects[0].runs[0]
    assert (run.space, run.resolution) == (space.split(":")[0], resolution)


@pytest.mark.parametrize("space", ["MNI152Lin", "MNI152NLin6Asym:res-1", "T1w"])
def test_a_space_that_is_not_there_lists_those_that_are(fmriprep, space):
    with pytest.raises(UsageError, match="available: "):
        collect_inputs(configured(fmriprep((NLIN6, NLIN2009)), space=space))


def test_the_space_that_most_subjects_have_wins(fmriprep):
    root = fmriprep((NLIN6, NLIN2009))
    for path in (root / "sub-02" / "func").glob("*NLin2009*"):
        path.unlink()
    subjects = collect_inputs(configured(root)).subjects
    assert {run.space for subject in subjects for run in subject.runs} == {"MNI152NLin6Asym"}


def test_a_subject_without_the_space_fails_alone(fmriprep):
    root = fmriprep((NLIN6, NLIN2009))
    for path in (root / "sub-02" / "func").glob("*NLin2009*"):
        path.unlink()
    first, second = collect_inputs(configured(root, space="MNI152NLin2009cAsym")).subjects
    assert (first.failure, len(first.runs)) == (None, 1)
    assert second.failure.startswith("sub-02: no desc-preproc run in MNI152NLin2009cAsym")


def test_old_confounds_names_and_a_missing_mask(fmriprep):
    run = collect_inputs(configured(fmriprep(suffix="regressors", mask=False))).subjects[0].runs[0]
    assert run.confounds.name.endswith("_desc-confounds_regressors.tsv")
    assert run.mask is None
    assert "no brain mask" in run.messages[0]


def test_missing_confounds_fail_the_subject_alone(fmriprep):
    root = fmriprep()
    (root / "sub-01" / "func" / "sub-01_task-rest_desc-confounds_timeseries.tsv").unlink()
    first, second = collect_inputs(configured(root)).subjects
    assert "desc-confounds_timeseries.tsv" in first.failure
    assert second.failure is None


def test_runs_are_kept_apart(fmriprep):
    root = fmriprep(runs=("task-rest_run-1", "task-rest_run-2", "task-nback"))
    names = [run.entities for run in collect_inputs(configured(root)).subjects[0].runs]
    assert names == [{"sub": "01", "task": "rest", "run": "1"}, {"sub": "01", "task": "rest", "run": "2"}]


@pytest.mark.parametrize(("desc", "smoothed"), [("smoothAROMAnonaggr", True), ("nonaggrDenoised", False)])
def test_aroma_is_used_only_when_asked_for(fmriprep, desc, smoothed):
    root = fmriprep(("space-MNI152NLin6Asym",), desc=desc)
    with pytest.raises(InputError, match="--use-aroma"):
        collect_inputs(configured(root))
    run = collect_inputs(configured(root, use_aroma=True)).subjects[0].runs[0]
    assert (run.aroma, run.smoothed) == (True, smoothed)
    assert "AROMA" in run.messages[0]


def test_aroma_asked_for_and_absent(fmriprep):
    with pytest.raises(InputError, match="without --use-aroma"):
        collect_inputs(configured(fmriprep(), use_aroma=True))


def test_no_mni_space_says_what_to_do(fmriprep):
    with pytest.raises(InputError, match="--output-spaces"):
        collect_inputs(configured(fmriprep(("space-T1w",))))


def test_names_from_before_1_2_are_refused(fmriprep, image):
    root = fmriprep()
    image(root / "sub-01" / "func" / "sub-01_task-rest_bold_space-MNI152NLin2009cAsym_preproc.nii.gz", (3, 3, 3, 3))
    with pytest.raises(InputError, match=r"before version 1\.2"):
        collect_inputs(configured(root))


def test_raw_data_have_one_space(raw):
    with pytest.raises(UsageError, match="MNI152NLin2009cAsym"):
        collect_inputs(configured(raw(), space="MNI152NLin6Asym"))


OLD = (
    "CSF WhiteMatter GlobalSignal stdDVARS non-stdDVARS FramewiseDisplacement NonSteadyStateOutlier00 "
    "X Y Z RotX RotY RotZ"
)
NEW = (
    "csf white_matter global_signal std_dvars dvars framewise_displacement non_steady_state_outlier00 "
    "trans_x trans_y trans_z rot_x rot_y rot_z"
)


def table(path, header, rows):
    path.write_text("\n".join(["\t".join(header.split()), *("\t".join(row) for row in rows)]) + "\n")
    return path


def test_old_and_new_names_give_the_same_table(tmp_path):
    rows = [["n/a" if n in (3, 4, 5) else str(n) for n in range(13)], [str(n * 10) for n in range(13)]]
    old = read_confounds(table(tmp_path / "old.tsv", OLD, rows))
    new = read_confounds(table(tmp_path / "new.tsv", NEW, rows))
    assert list(old.columns) == NEW.split()
    assert old.equals(new)
    assert np.isnan(old["framewise_displacement"].iloc[0])
    assert old["rot_z"].iloc[1] == 120.0


@pytest.mark.parametrize(("marked", "count"), [([], 0), ([0], 1), ([0, 1, 2], 3), ([2], 3)])
def test_non_steady_state_volumes_are_counted_to_the_last(tmp_path, marked, count):
    motion = "trans_x trans_y trans_z rot_x rot_y rot_z"
    header = " ".join([motion, *(f"non_steady_state_outlier_{n:02d}" for n in range(len(marked)))])
    rows = [["0"] * 6 + [str(int(volume == at)) for at in marked] for volume in range(5)]
    assert count_non_steady_state(read_confounds(table(tmp_path / "c.tsv", header, rows))) == count


@pytest.mark.parametrize(
    ("header", "rows", "sentence"),
    [
        ("csf trans_x", [["1", "2"]], "lacks the motion parameters trans_y"),
        ("trans_x trans_y trans_z rot_x rot_y rot_z", [], "no row"),
        ("trans_x trans_y trans_z rot_x rot_y rot_z", [["a"] * 6], "holds text"),
        ("trans_x trans_y trans_z rot_x rot_y rot_z X", [["1"] * 7], "twice"),
    ],
)
def test_an_unusable_table_is_a_sentence(tmp_path, header, rows, sentence):
    with pytest.raises(InputError, match=sentence):
        read_confounds(table(tmp_path / "c.tsv", header, rows))
