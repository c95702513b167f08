from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from migxai.bids.inputs import (
    check_output_place,
    choose_t1w,
    choose_task,
    collect_inputs,
    dataset_root,
    select_subjects,
)
from migxai.cli.parser import parse
from migxai.config import Config
from migxai.errors import InputError, UsageError


def configured(bids_dir: Path, **selection) -> Config:
    return Config().replace("run", bids_dir=bids_dir).replace("selection", **selection)


def test_every_subject_and_its_t1w_is_found_with_inherited_metadata(raw):
    root = raw()
    inputs = collect_inputs(configured(root))
    assert [subject.label for subject in inputs.subjects] == ["01", "02", "10"]
    run = inputs.subjects[0].runs[0]
    assert run.entities == {"sub": "01", "task": "rest"}
    assert run.bold.name == "sub-01_task-rest_bold.nii.gz"
    assert run.t1w.name == "sub-01_T1w.nii.gz"
    assert run.metadata["RepetitionTime"] == 2.0
    assert run.sources == (
        "bids:raw:sub-01/func/sub-01_task-rest_bold.nii.gz",
        "bids:raw:sub-01/anat/sub-01_T1w.nii.gz",
    )


def test_inputs_can_be_handed_to_another_process(raw):
    inputs = collect_inputs(configured(raw()))
    assert pickle.loads(pickle.dumps(inputs)) == inputs


@pytest.mark.parametrize(
    ("wanted", "found"),
    [(("01",), ["01"]), (("sub-02",), ["02"]), (("0*",), ["01", "02"]), (("sub-1?", "01"), ["01", "10"])],
)
def test_participants_are_chosen_by_label_or_anchored_glob(raw, wanted, found):
    inputs = collect_inputs(configured(raw(), participant_label=wanted))
    assert [subject.label for subject in inputs.subjects] == found


def test_an_unknown_participant_is_a_usage_error_that_lists_the_others(raw):
    with pytest.raises(UsageError, match=r"'sub-99'.*01, 02, 10"):
        collect_inputs(configured(raw(), participant_label=("sub-99",)))


def test_a_glob_is_anchored(raw):
    with pytest.raises(UsageError, match="No participant '1'"):
        collect_inputs(configured(raw(), participant_label=("1",)))


def test_uncompressed_images_are_found(raw):
    inputs = collect_inputs(configured(raw(extension=".nii")))
    assert inputs.subjects[0].runs[0].bold.suffix == ".nii"
    assert inputs.subjects[0].runs[0].t1w.suffix == ".nii"


def test_sessions_and_runs_are_selected(raw):
    middles = [f"ses-{session}_task-rest_run-{run}" for session in "ab" for run in ("01", "02")]
    root = raw({"01": middles, "02": ["ses-a_task-rest_run-01"]})
    everything = collect_inputs(configured(root)).subjects[0].runs
    assert len(everything) == 4
    assert {run.t1w.name for run in everything if run.entities["ses"] == "b"} == {"sub-01_ses-b_T1w.nii.gz"}
    inputs = collect_inputs(configured(root, session_label=("ses-b",), run_id=("2",)))
    assert [run.bold.name for run in inputs.subjects[0].runs] == ["sub-01_ses-b_task-rest_run-02_bold.nii.gz"]
    assert "no run of task-rest" in inputs.subjects[1].failure
    with pytest.raises(UsageError, match=r"No session 'c'.*a, b"):
        collect_inputs(configured(root, session_label=("c",)))


def test_the_only_other_task_is_used_with_a_message(raw):
    inputs = collect_inputs(configured(raw({"01": ["task-oneback"]})))
    assert inputs.task == "oneback"
    assert "task-oneback" in inputs.messages[0]
    assert inputs.subjects[0].runs[0].entities["task"] == "oneback"


def test_several_other_tasks_are_no_resting_run(raw):
    root = raw({"01": ["task-a", "task-b"]})
    with pytest.raises(InputError, match=r"no resting run.*a, b"):
        collect_inputs(configured(root))
    assert choose_task(root, "task-b") == ("b", ())
    with pytest.raises(UsageError, match=r"'c'.*a, b"):
        choose_task(root, "c")


def test_the_first_echo_is_used_with_a_message(raw):
    root = raw({"01": [f"task-rest_echo-{echo}" for echo in (1, 2, 3)]})
    subject = collect_inputs(configured(root)).subjects[0]
    assert [run.bold.name for run in subject.runs] == ["sub-01_task-rest_echo-1_bold.nii.gz"]
    assert subject.runs[0].entities == {"sub": "01", "task": "rest"}
    assert "3 echoes" in subject.messages[0]


def test_one_broken_sidecar_fails_its_subject_alone(raw):
    root = raw()
    (root / "sub-02" / "func" / "sub-02_task-rest_bold.json").write_text("{broken")
    subjects = collect_inputs(configured(root)).subjects
    assert subjects[1].failure.startswith("sub-02: sub-02/func/sub-02_task-rest_bold.json is not valid JSON")
    assert [subject.failure for subject in subjects if subject.label != "02"] == [None, None]


def test_a_nearer_sidecar_overrides(raw, as_json):
    root = raw()
    as_json(root / "sub-01" / "func" / "sub-01_task-rest_bold.json", {"RepetitionTime": 1.5})
    metadata = collect_inputs(configured(root)).subjects[0].runs[0].metadata
    assert metadata == {"RepetitionTime": 1.5, "TaskName": "rest"}


def test_content_that_was_never_fetched_is_named(raw):
    root = raw()
    bold = root / "sub-01" / "func" / "sub-01_task-rest_bold.nii.gz"
    bold.unlink()
    bold.symlink_to("../../.git/annex/objects/x")
    empty = root / "sub-02" / "anat" / "sub-02_T1w.nii.gz"
    empty.write_bytes(b"")
    subjects = collect_inputs(configured(root)).subjects
    assert "datalad get" in subjects[0].failure
    assert "0 bytes" in subjects[1].failure
    assert subjects[2].failure is None


def test_a_missing_t1w_matters_only_where_it_is_asked_for(raw):
    root = raw(t1w=False)
    subject = collect_inputs(configured(root)).subjects[0]
    assert subject.runs[0].t1w is None
    assert "EPI template" in subject.messages[0]
    asked = configured(root).replace("preprocessing", anat="t1w")
    assert "--anat t1w" in collect_inputs(asked).subjects[0].failure


def test_t1w_of_the_session_and_then_the_plainest_is_chosen():
    images = [Path(f"sub-01_{middle}T1w.nii.gz") for middle in ("ses-a_", "ses-b_rec-norm_", "ses-b_", "ses-c_")]
    chosen, messages = choose_t1w(images, "b")
    assert chosen.name == "sub-01_ses-b_T1w.nii.gz"
    assert "Of 4 T1w images" in messages[0]
    assert choose_t1w(images, None)[0].name == "sub-01_ses-a_T1w.nii.gz"


def test_a_filter_file_selects(raw):
    root = raw({"01": ["task-rest", "task-rest_acq-fast"], "02": ["task-rest"]})

    def names(filters):
        subject = collect_inputs(configured(root, bids_filters=filters)).subjects[0]
        return [run.bold.name for run in subject.runs]

    assert names({"bold": {"acquisition": None}}) == ["sub-01_task-rest_bold.nii.gz"]
    assert names({"bold": {"acquisition": "Query.NONE"}}) == ["sub-01_task-rest_bold.nii.gz"]
    assert names({"bold": {"acquisition": "*"}}) == ["sub-01_task-rest_acq-fast_bold.nii.gz"]
    assert names({"bold": {"acquisition": "Query.ANY"}}) == ["sub-01_task-rest_acq-fast_bold.nii.gz"]
    assert len(names({"bold": {"acquisition": [None, "fast"]}})) == 2
    assert len(names({"bold": {"RepetitionTime": 2.0}})) == 2


@pytest.mark.parametrize(
    ("filters", "sentence"),
    [
        ({"blod": {}}, "unknown keys: blod"),
        ({"bold": "rest"}, "object of objects"),
        ({"bold": {"run": "Query.MAYBE"}}, "is no query"),
        ({"bold": {"colour": "red"}}, "does not fit"),
    ],
)
def test_a_wrong_filter_is_a_usage_error(raw, filters, sentence):
    with pytest.raises(UsageError, match=sentence):
        collect_inputs(configured(raw(), bids_filters=filters))


def test_no_dataset_is_a_sentence(tmp_path, raw):
    with pytest.raises(InputError, match="does not exist"):
        collect_inputs(configured(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is empty"):
        collect_inputs(configured(tmp_path / "empty"))
    root = raw()
    with pytest.raises(InputError, match=r"no dataset_description.json.*subject's folder"):
        collect_inputs(configured(root / "sub-01"))


def test_a_database_is_kept_and_used_again(raw, tmp_path):
    config = configured(raw()).replace("run", bids_database_dir=tmp_path / "db")
    first = collect_inputs(config)
    assert any((tmp_path / "db").iterdir())
    assert collect_inputs(config) == first


def test_output_inside_the_input_is_refused_but_for_derivatives(tmp_path):
    check_output_place(tmp_path / "bids", tmp_path / "out")
    check_output_place(tmp_path / "bids", tmp_path / "bids" / "derivatives" / "migxai")
    for wrong in ("", "out", "derivatives", "sub-01/derivatives/x"):
        with pytest.raises(UsageError, match="output directory"):
            check_output_place(tmp_path / "bids", tmp_path / "bids" / wrong)


def test_naming_files_does_not_import_pybids_or_nibabel():
    code = (
        "import sys, migxai.bids, migxai.bids.inputs, migxai.bids.outputs, migxai.bids.records; "
        "sys.exit(any(name in sys.modules for name in ('bids', 'nibabel', 'pandas', 'numpy', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.shared
def test_the_real_dataset_is_read(shared_data):
    inputs = collect_inputs(configured(shared_data / "raw-1subject"))
    run = inputs.subjects[0].runs[0]
    assert (inputs.task, run.entities, run.metadata["RepetitionTime"]) == (
        "oneback",
        {"sub": "02", "task": "oneback", "run": "01"},
        2.0,
    )
    assert run.t1w.name == "sub-02_T1w.nii.gz"


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
