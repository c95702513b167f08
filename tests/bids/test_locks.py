from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from migxai.bids.locks import LOCK_DIR, shared_lock, subject_lock
from migxai.errors import OutputError

HOLD = (
    "import sys, pathlib, time\nfrom migxai.bids.locks import subject_lock\n"
    "with subject_lock(pathlib.Path(sys.argv[1]), '01'):\n    print('held', flush=True)\n    time.sleep(60)\n"
)


def test_the_same_subject_is_refused_and_another_is_not(tmp_path):
    with subject_lock(tmp_path, "01"), subject_lock(tmp_path, "02"), subject_lock(tmp_path, "01", "a"):
        assert len(list((tmp_path / LOCK_DIR).iterdir())) == 3
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
    with shared_lock(tmp_path), pytest.raises(OutputError, match=r"0\.1 seconds"), shared_lock(tmp_path, timeout=0.1):
        pass


def test_a_lock_in_an_output_that_is_a_file_is_a_sentence(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), subject_lock(tmp_path / "out", "01"):
        pass
