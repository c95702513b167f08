from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from migxai.bids.records import (
    RunRecord,
    SubjectRecord,
    describe_output,
    is_complete,
    missing_outputs,
    read_record,
    record_path,
    subject_status,
    without_paths,
    write_record,
)


@pytest.fixture
def complete(tmp_path):
    path = tmp_path / "sub-01" / "func" / "a.tsv"
    path.parent.mkdir(parents=True)
    path.write_text("a\n1\n")
    runs = (RunRecord("task-rest_run-1", True), RunRecord("task-rest_run-2", False, "translation of 2.4 mm"))
    record = SubjectRecord("01", "complete", "abcd1234", runs=runs, outputs=(describe_output(tmp_path, path),))
    write_record(tmp_path, record)
    return record


def test_a_record_comes_back_as_it_was(tmp_path, complete):
    assert read_record(tmp_path, "01") == complete
    assert is_complete(tmp_path, "01", "abcd1234")
    assert complete.outputs[0].path == "sub-01/func/a.tsv"


def test_a_record_counts_only_with_its_outputs_configuration_and_version(tmp_path, complete):
    assert not is_complete(tmp_path, "01", "other")
    assert not is_complete(tmp_path, "02", "abcd1234")
    write_record(tmp_path, dataclasses.replace(complete, version="0.0.0"))
    assert not is_complete(tmp_path, "01", "abcd1234")
    write_record(tmp_path, complete)
    (tmp_path / "sub-01" / "func" / "a.tsv").write_text("a\n")
    assert missing_outputs(tmp_path, complete) == ("sub-01/func/a.tsv",)
    assert not is_complete(tmp_path, "01", "abcd1234")


def test_a_record_cut_off_counts_as_none(tmp_path, complete):
    path = record_path(tmp_path, "01")
    path.write_text(path.read_text()[:40])
    assert read_record(tmp_path, "01") is None
    assert not is_complete(tmp_path, "01", "abcd1234")


def test_the_status_says_which_and_why(tmp_path, complete):
    write_record(
        tmp_path, SubjectRecord("02", "failed", "abcd1234", error="sub-02_task-rest_bold.nii.gz is cut short.")
    )
    gone = dataclasses.replace(complete.outputs[0], path="sub-03/func/x.tsv")
    write_record(tmp_path, SubjectRecord("03", "complete", "abcd1234", outputs=(gone,)))
    write_record(tmp_path, SubjectRecord("05", "complete", "older"))
    status = {label: subject_status(tmp_path, label, "abcd1234") for label in ("01", "02", "03", "04", "05")}
    assert {label: item.state for label, item in status.items()} == {
        "01": "complete",
        "02": "failed",
        "03": "incomplete",
        "04": "missing",
        "05": "outdated",
    }
    assert "cut short" in status["02"].reason
    assert "sub-03/func/x.tsv" in status["03"].reason
    assert (status["01"].usable_runs, status["01"].excluded_runs) == (1, 1)
    assert status["01"].reason == "task-rest_run-2: translation of 2.4 mm"
    assert subject_status(tmp_path, "05").state == "complete"


def test_an_output_never_used_has_no_record(tmp_path):
    assert subject_status(tmp_path, "01").state == "missing"


def test_no_path_of_the_machine_gets_into_a_record(tmp_path):
    text = f"Failed in {tmp_path}/work/sub-01/x.nii.gz, see '/home/someone/crash.txt' (bids:raw:sub-01/func/a.nii)."
    verdict = RunRecord("task-rest", False, f"see {tmp_path}/a/b.txt")
    record = SubjectRecord("01", "failed", "x", error=text, messages=(text,), runs=(verdict,))
    write_record(tmp_path, record, roots={"<work>": tmp_path / "work"})
    stored = record_path(tmp_path, "01").read_text()
    assert str(tmp_path) not in stored
    assert "someone" not in stored
    assert "<work>/sub-01/x.nii.gz" in stored
    assert "bids:raw:sub-01/func/a.nii" in stored


@pytest.mark.parametrize("text", ["1/2 of 3 mm/s", "sub-01/func/a.nii.gz is cut short", "https://example.org/a/b"])
def test_sentences_without_paths_stay(text):
    assert without_paths(text, {"<work>": Path("/w")}) == text
