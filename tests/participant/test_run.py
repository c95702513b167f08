from __future__ import annotations

import logging

import pytest

from migxai.config import Config, Run
from migxai.participant.run import WORK_FORMAT, _renew_work, step_name, subject_of, work_folder


@pytest.mark.parametrize(("stamp", "kept"), [(None, False), ("migxai 0.1.0", False), (WORK_FORMAT, True)])
def test_steps_of_another_version_are_done_again(tmp_path, caplog, stamp, kept):
    config = Config(run=Run(work_dir=tmp_path))
    old = work_folder(config, "01") / "anat_0_wf" / "extract_brain" / "result_extract_brain.pklz"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"what only 0.1.0 can read")
    if stamp is not None:
        (work_folder(config, "01") / "format.txt").write_text(stamp)
    with caplog.at_level(logging.INFO, "migxai"):
        _renew_work(config, "01")
    assert old.exists() is kept
    assert ("another version" in caplog.text) is not kept
    assert (work_folder(config, "01") / "format.txt").read_text() == WORK_FORMAT


def test_names_of_steps():
    assert subject_of("migxai_wf.sub_01_wf.task_rest_wf.denoise") == "sub-01"
    assert step_name("migxai_wf.sub_01_wf.task_rest_wf.raw_wf.realign") == "task_rest realign"
