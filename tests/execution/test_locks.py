from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from migxai.errors import OutputError
from migxai.execution import locks
from migxai.execution.locks import (
    LOCK_DIR,
    lock_state,
    read_lock,
    shared_lock,
    subject_lock,
    this_process,
)

HOLD = (
    "import sys, pathlib, time\nfrom migxai.execution.locks import subject_lock\n"
    "with subject_lock(pathlib.Path(sys.argv[1]), '01'):\n    print('held', flush=True)\n    time.sleep(60)\n"
)


def test_the_same_subject_is_refused_and_another_is_not(tmp_path):
    with subject_lock(tmp_path, "01"), subject_lock(tmp_path, "02"):
        assert len(list((tmp_path / LOCK_DIR).iterdir())) == 2
        with pytest.raises(OutputError, match="sub-01 is being processed"), subject_lock(tmp_path, "01"):
            pass
    assert not (tmp_path / LOCK_DIR).exists()


def test_a_lock_is_gone_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), subject_lock(tmp_path, "01"):
        raise RuntimeError
    with subject_lock(tmp_path, "01"):
        pass
    assert not (tmp_path / LOCK_DIR).exists()


def test_another_process_is_refused_until_it_is_killed(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match="another run"), subject_lock(tmp_path, "01"):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    assert (tmp_path / LOCK_DIR / "sub-01.lock").exists()
    with subject_lock(tmp_path, "01"):
        pass
    assert not (tmp_path / LOCK_DIR).exists()


def count_up(path, times):
    for _ in range(times):
        with shared_lock(path):
            counter = path / "counter"
            counter.write_text(str(int(counter.read_text()) + 1))


def test_shared_files_are_written_by_one_at_a_time(tmp_path):
    (tmp_path / "counter").write_text("0")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=count_up, args=(tmp_path, 50)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert (tmp_path / "counter").read_text() == "200"


def test_a_shared_lock_that_is_never_freed_is_a_sentence(tmp_path):
    with (
        shared_lock(tmp_path),
        pytest.raises(OutputError, match=r"0\.1 seconds.*process \d+ on"),
        shared_lock(tmp_path, timeout=0.1),
    ):
        pass


def test_a_lock_in_an_output_that_is_a_file_is_a_sentence(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), subject_lock(tmp_path / "out", "01"):
        pass


@pytest.fixture
def fast(monkeypatch):
    """A cluster whose clocks run fast: a sign of life each 0.1 s, dead after 1.2 s."""
    monkeypatch.setattr(locks, "HEARTBEAT", 0.1)
    monkeypatch.setattr(locks, "FRESH", 0.25)
    monkeypatch.setattr(locks, "STALE", 1.2)


@pytest.fixture
def elsewhere(tmp_path):
    """Leave the lock of sub-01 as a run on another machine has it, with its last sign some seconds ago."""

    def make(age, **changes):
        holder = dataclasses.replace(this_process(), boot="another", machine="node7", job="SLURM 12_3", **changes)
        path = tmp_path / LOCK_DIR / "sub-01.lock"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(holder)))
        os.utime(path, (time.time() - age,) * 2)
        return path

    return make


def test_a_living_run_on_another_machine_is_named_and_left_alone(tmp_path, elsewhere):
    path = elsewhere(age=3)
    with pytest.raises(OutputError, match=r"job SLURM 12_3, process \d+ on node7"), subject_lock(tmp_path, "01"):
        pass
    assert path.exists()
    assert lock_state(tmp_path, "sub-01").alive


def test_a_dead_machine_blocks_nobody(tmp_path, elsewhere, fast, caplog):
    elsewhere(age=600)
    assert lock_state(tmp_path, "sub-01").alive is False
    begun = time.monotonic()
    with subject_lock(tmp_path, "01"):
        assert lock_state(tmp_path, "sub-01").owner.pid == os.getpid()
    assert time.monotonic() - begun >= locks.FRESH
    assert "node7" in caplog.text
    assert not (tmp_path / LOCK_DIR).exists()


def test_a_machine_that_comes_back_while_somebody_watches_keeps_its_lock(tmp_path, elsewhere, fast, monkeypatch):
    monkeypatch.setattr(locks, "FRESH", 1.0)
    path = elsewhere(age=600)
    threading.Timer(0.3, os.utime, [path]).start()
    with pytest.raises(OutputError, match="node7"), subject_lock(tmp_path, "01"):
        pass


def test_a_silent_machine_is_waited_for(tmp_path, elsewhere, fast):
    elsewhere(age=0.6)
    assert lock_state(tmp_path, "sub-01").alive is None
    begun = time.monotonic()
    with subject_lock(tmp_path, "01"):
        assert time.monotonic() - begun > 0.4


def test_a_void_lock_is_taken_over_by_one_only(tmp_path, elsewhere, fast):
    elsewhere(age=600)
    held, most, guard = [], [], threading.Lock()

    def enter():
        with locks._locked(tmp_path, "sub-01", timeout=20, busy="{owner}"):
            with guard:
                held.append(1)
                most.append(len(held))
            time.sleep(0.02)
            with guard:
                held.pop()

    threads = [threading.Thread(target=enter) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6


def test_a_file_system_without_the_kernels_locks(tmp_path, fast, monkeypatch):
    monkeypatch.setattr(locks, "flock", lambda descriptor: None)
    with subject_lock(tmp_path, "01"):
        time.sleep(2 * locks.FRESH)
        with pytest.raises(OutputError, match="another run"), subject_lock(tmp_path, "01"):
            pass
    assert not (tmp_path / LOCK_DIR).exists()


def test_signs_of_life_go_on_while_the_interpreter_is_held(tmp_path, fast):
    with subject_lock(tmp_path, "01"):
        path = tmp_path / LOCK_DIR / "sub-01.lock"
        before = path.stat().st_mtime_ns
        # What a registration engine does: no other thread of this process runs meanwhile.
        sum(range(3 * 10**7))
        time.sleep(0.3)
        assert path.stat().st_mtime_ns > before
        helper = locks._heartbeat._helper
        with subject_lock(tmp_path, "02"):
            assert locks._heartbeat._helper is helper
        assert helper.poll() is None
    assert helper.poll() == 0


def test_signs_of_life_stop_with_their_process(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    [helper] = [int(pid) for pid in subprocess.check_output(["ps", "-o", "pid=", "--ppid", str(holder.pid)]).split()]
    holder.kill()
    holder.wait()
    deadline = time.monotonic() + 10
    while any(file.read_text() for file in Path("/proc").glob(f"{helper}/cmdline")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert lock_state(tmp_path, "sub-01").alive is False


def test_nobody_holds_what_has_no_lock(tmp_path):
    assert lock_state(tmp_path, "group") is None
    assert read_lock(tmp_path / "x.lock") is None
