from __future__ import annotations

import io
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from migxai.config import Config
from migxai.execution import children
from migxai.execution.children import Children
from migxai.execution.environment import Share
from migxai.execution.run import Journal, LineDisplay

SHARE = Share(2, 1, 4.0)


def test_a_child_that_is_done_but_does_not_exit_is_complete(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "cli")
    import fake_runner

    monkeypatch.setattr(children, "LINGER", 0.5)
    stream = io.StringIO()
    config = Config().replace("run", output_dir=tmp_path, resource_monitor=True)
    with Journal(LineDisplay(stream), tmp_path / "run.log") as journal:
        pool = Children(config, SHARE, process_subject=fake_runner.run_subject, journal=journal, work_dir=tmp_path)
        assert [item.status for item in pool.run(["linger1", "ok1"])] == ["complete", "complete"]
    assert "sub-linger1: complete" in stream.getvalue()
    assert set(json.loads((tmp_path / "run_resources.json").read_text())) == {"sub-linger1", "sub-ok1"}


def import_nothing(config, subject, report):
    import_module("migxai.nowhere")


def test_a_missing_module_is_an_internal_error(tmp_path):
    with Journal(LineDisplay(io.StringIO()), tmp_path / "run.log") as journal:
        pool = Children(Config(), SHARE, process_subject=import_nothing, journal=journal, work_dir=tmp_path)
        (outcome,) = pool.run(["01"])
    assert outcome.exit_code == 70
    assert "ModuleNotFoundError" in outcome.message
    assert str(tmp_path / "run.log") in outcome.hint
    assert "Traceback" in (tmp_path / "run.log").read_text()


_SCRIPT = """
import ctypes, psutil
from migxai.execution.children import keep_freed_memory

def used():
    return psutil.Process().memory_info().rss / 2**20

give_back = keep_freed_memory()
before = used()
block = ctypes.create_string_buffer(b"x" * (100 * 2**20))
del block
kept = used() - before
give_back()
print(kept, used() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own")
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
    kept, given_back = (float(number) for number in done.stdout.split())
    assert kept > 90
    assert given_back < 10
