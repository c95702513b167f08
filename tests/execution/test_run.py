from __future__ import annotations

import io
import signal
import subprocess
import sys

import pytest

from migxai.execution.run import (
    Journal,
    LineDisplay,
    Outcome,
    Terminated,
    exit_code,
    make_display,
    signals_raise,
)


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
from migxai.execution.run import end_descendants
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


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_display_is_live_on_a_terminal_alone():
    assert isinstance(make_display(1, io.StringIO()), LineDisplay)
    assert isinstance(make_display(1, Terminal(), live=False), LineDisplay)
    stream = Terminal()
    display = make_display(2, stream)
    display.step("01", "realignment [1]")
    display.write("a [bold] word")
    display.end(Outcome("01", "failed", 3, "No signal."))
    display.close()
    text = stream.getvalue()
    assert "a [bold] word" in text
    assert "sub-01: failed: No signal." in text
    assert "1/2" in text


def test_journal_records_what_it_does_not_show(tmp_path):
    stream = io.StringIO()
    with Journal(LineDisplay(stream), tmp_path / "log") as journal:
        journal.message("seen")
        journal.message("detail", level=10)
        journal.message("careful", level=30)
    assert "seen" in stream.getvalue()
    assert "warning: careful" in stream.getvalue()
    assert "detail" not in stream.getvalue()
    assert "DEBUG: detail" in (tmp_path / "log").read_text()
