from __future__ import annotations

import io
import json
from importlib import import_module
from pathlib import Path

from migxai.config import Config
from migxai.execution import children
from migxai.execution.children import Children
from migxai.execution.progress import Journal, LineDisplay, Outcome, make_display
from migxai.execution.resources import Share

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
