from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from migxai.errors import OutputError
from migxai.execution import scratch

#: A place that nobody can write, root included.
NOWHERE = Path("/proc/nowhere")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Usable caches and a usable temporary folder; what is registered for the end of the process is kept here."""
    registered = []
    monkeypatch.setattr(scratch.atexit, "register", lambda *call: registered.append(call))
    monkeypatch.setattr(tempfile, "tempdir", None)
    for name in ("MPLCONFIGDIR", "NUMBA_CACHE_DIR", "TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    (tmp_path / "work").mkdir()
    return tmp_path / "work", registered


def test_places_that_can_be_used_stay(places):
    work, registered = places
    before = dict(os.environ)
    assert scratch.provide_scratch(work) == []
    assert (dict(os.environ), list(work.iterdir()), registered) == (before, [], [])


@pytest.mark.parametrize("name", ["MPLCONFIGDIR", "NUMBA_CACHE_DIR"])
def test_a_cache_without_a_place_gets_one(places, monkeypatch, name):
    work, _ = places
    monkeypatch.setenv(name, str(NOWHERE))
    (sentence,) = scratch.provide_scratch(work)
    assert sentence.startswith(f"{name} can't be written")
    folder = Path(os.environ[name])
    assert folder.is_dir()
    assert folder.parent.parent == work
    assert tempfile.gettempdir() == str(work.parent / "own")


def test_a_home_that_is_not_there(places, monkeypatch):
    work, _ = places
    monkeypatch.delenv("MPLCONFIGDIR")
    monkeypatch.setenv("HOME", str(NOWHERE))
    (sentence,) = scratch.provide_scratch(work)
    assert "MPLCONFIGDIR" in sentence


@pytest.mark.parametrize("full", [True, False])
def test_temporary_files_go_to_the_work_directory(places, monkeypatch, full):
    work, _ = places
    if full:
        monkeypatch.setattr(scratch, "free_gb", lambda folder: 0.001)
    else:
        monkeypatch.setenv("TMPDIR", str(NOWHERE))
    (sentence,) = scratch.provide_scratch(work)
    assert ("is full" if full else "can't be written") in sentence
    with tempfile.NamedTemporaryFile() as file:
        assert Path(file.name).parent.parent == work


def test_without_any_place_there_is_a_sentence(places, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(NOWHERE))
    with pytest.raises(OutputError, match="can't be used"):
        scratch.provide_scratch(NOWHERE)


@pytest.mark.parametrize(("tidy_up", "left"), [(True, []), (False, ["work"])])
def test_nothing_is_left_when_the_process_ends(tmp_path, tidy_up, left):
    (tmp_path / "work").mkdir()
    code = (
        "from pathlib import Path; from migxai.execution.scratch import provide_scratch; import os, sys; "
        f"provide_scratch(Path('work'), tidy_up={tidy_up}); print(os.environ['NUMBA_CACHE_DIR'])"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(NOWHERE), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("work/scratch-")
    assert [path.name for path in tmp_path.iterdir()] == left
