from __future__ import annotations

import dataclasses
import json
import os
import time

import pytest

from migxai.bids.records import SubjectRecord, record_path, write_record
from migxai.cli import participant as module
from migxai.cli.participant import current_state
from migxai.execution.environment import UNKNOWN
from migxai.execution.locks import LOCK_DIR, subject_lock, this_process


@pytest.fixture
def left(tmp_path, monkeypatch):
    """Leave the lock of sub-01 as a run does that was killed, here or on another machine."""
    monkeypatch.setattr(module, "explain", lambda job: f"what became of {job!r}")

    def make(age=0.0, **changes):
        path = tmp_path / LOCK_DIR / "sub-01.lock"
        path.parent.mkdir()
        holder = dataclasses.replace(this_process(), job="SLURM 12_1", flocked=True, **changes)
        path.write_text(json.dumps(dataclasses.asdict(holder)))
        os.utime(path, (time.time() - age,) * 2)

    return make


def test_without_a_lock_the_record_has_it_all(tmp_path):
    assert current_state(tmp_path, "01", "missing", "no record") == ("missing", "no record")


def test_who_is_being_processed_is_running(tmp_path):
    with subject_lock(tmp_path, "01"):
        state, reason = current_state(tmp_path, "01", "missing", "no record")
    assert state == "running"
    assert f"process {os.getpid()} on" in reason


def test_who_was_killed_has_failed_for_the_schedulers_reason(tmp_path, left):
    left()
    assert current_state(tmp_path, "01", "missing", "no record") == ("failed", "what became of 'SLURM 12_1'")
    assert current_state(tmp_path, "01", "complete", "") == ("complete", "")


def test_a_record_by_whoever_outlived_the_process_counts_and_an_earlier_one_does_not(tmp_path, left, monkeypatch):
    left(age=60)
    write_record(tmp_path, SubjectRecord("01", "failed", "x", error="killed by signal 9"))
    told = ("killed by signal 9; what became of 'SLURM 12_1'", "killed by signal 9")
    assert current_state(tmp_path, "01", "failed", "killed by signal 9") == ("failed", told[0])
    os.utime(record_path(tmp_path, "01"), (time.time() - 600,) * 2)
    assert current_state(tmp_path, "01", "failed", "killed by signal 9") == ("failed", "what became of 'SLURM 12_1'")
    os.utime(record_path(tmp_path, "01"))
    monkeypatch.setattr(module, "explain", lambda job: UNKNOWN)
    assert current_state(tmp_path, "01", "failed", "killed by signal 9") == ("failed", told[1])


def test_a_lost_node_is_named(tmp_path, left):
    left(age=600, boot="another", machine="node7")
    state, reason = current_state(tmp_path, "01", "missing", "")
    assert state == "failed"
    assert reason.startswith("what became of 'SLURM 12_1'; no sign of life from node7 for 60")


def test_a_silent_node_is_running_with_a_doubt(tmp_path, left):
    left(age=60, boot="another", machine="node7")
    state, reason = current_state(tmp_path, "01", "missing", "")
    assert state == "running"
    assert "but no sign of life for 6" in reason


def test_status_shows_it(run, dataset, tmp_path):
    root, out = dataset("01", "02"), tmp_path / "out"
    write_record(out, SubjectRecord("02", "complete", "x"))
    with subject_lock(out, "01"):
        code, table, _ = run(root, out, "participant", "--status")
    assert code == 1
    assert "sub-01\trunning" in table
    assert "2 subjects: 1 running, 1 complete." in table
