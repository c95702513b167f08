from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from migxai.execution.executor import Terminated, exit_code, signals_raise
from migxai.execution.progress import Outcome


def outcomes(*codes):
    return [Outcome(str(number), "failed" if code else "complete", code) for number, code in enumerate(codes)]


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((), 0),
        ((0, 0), 0),
        ((0, 3), 1),
        ((0, 2), 1),
        ((0, 70), 1),
        ((0, 5), 5),
        ((3, 5), 5),
        ((3, 3), 3),
        ((2, 2), 2),
        ((2, 3), 3),
        ((3, 70), 70),
        ((1, 3), 3),
    ],
)
def test_exit_code_of_a_run(codes, expected):
    assert exit_code(outcomes(*codes)) == expected


def test_signal_becomes_an_exception_once():
    before = signal.getsignal(signal.SIGTERM)

    def impatient():
        with signals_raise():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                # Tidying up is not disturbed.
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Terminated) as ended:
        impatient()
    assert ended.value.signum == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


TRACKED = """
import multiprocessing, subprocess, sys, psutil
from migxai.execution.executor import end_descendants
lock = multiprocessing.get_context("spawn").Lock()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
end_descendants()
child.wait()
[tracker] = psutil.Process().children()
print(tracker.status(), child.returncode)
"""


def test_the_tracker_of_shared_resources_is_left_alone():
    done = subprocess.run([sys.executable, "-c", TRACKED], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == "-9"
    assert "zombie" not in done.stdout
    assert done.stderr == ""
