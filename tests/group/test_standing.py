from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from migxai.config import Config, Run
from migxai.evaluation.group_folder import GroupFolder
from migxai.execution.locks import LOCK_DIR, group_lock, this_process
from migxai.group.run import UNFINISHED, group_status


def begun(root: Path) -> Config:
    """Leave the description of a group level that has begun."""
    folder = GroupFolder.of(root)
    folder.description.parent.mkdir(parents=True)
    content = {"State": "running", "Failures": [], "Comparisons": [], "CrossValidation": {}, "Seed": 0, "Options": {}}
    folder.description.write_text(json.dumps(content))
    return Config(run=Run(output_dir=root))


def test_a_group_level_at_work_is_named(tmp_path):
    config = begun(tmp_path)
    with group_lock(tmp_path):
        [sentence] = group_status(config)
    assert sentence.startswith("The group level is being run (process")


def test_of_one_that_was_killed_is_said_what_is_known(tmp_path):
    config = begun(tmp_path)
    assert group_status(config) == [UNFINISHED]
    (tmp_path / LOCK_DIR).mkdir()
    holder = dataclasses.replace(this_process(), job="PBS 7.head", flocked=True)
    (tmp_path / LOCK_DIR / "group.lock").write_text(json.dumps(dataclasses.asdict(holder)))
    assert group_status(config) == [f"killed by signal 9, cause unknown (PBS job 7.head). {UNFINISHED}"]
