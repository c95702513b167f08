"""A dataset of empty runs, and the real command line with fake work behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SCHEDULERS = ("SLURM_", "PBS_", "SGE_")


@pytest.fixture
def dataset(tmp_path):
    """Make a raw dataset whose runs can be found but not read."""

    def make(*subjects, root=tmp_path / "bids"):
        root.mkdir(parents=True, exist_ok=True)
        (root / "dataset_description.json").write_text(json.dumps({"Name": "toy", "BIDSVersion": "1.9.0"}))
        for subject in subjects:
            func = root / f"sub-{subject}" / "func"
            func.mkdir(parents=True)
            (func / f"sub-{subject}_task-rest_bold.nii.gz").write_bytes(b"not an image")
            (func / f"sub-{subject}_task-rest_bold.json").write_text('{"RepetitionTime": 2.0}')
        return root

    return make


@pytest.fixture
def start():
    """Start the command line, by default with the stand-ins of `fake_runner`; what is left of it is killed."""
    started = []

    def call(*arguments, fake=True, extra=None, **more):
        program = [str(HERE / "cli" / "fake_runner.py")] if fake else ["-m", "migxai"]
        clean = {key: value for key, value in os.environ.items() if not key.startswith(SCHEDULERS)}
        paths = [str(HERE / "cli"), str(HERE.parent), clean.get("PYTHONPATH", "")]
        environment = clean | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | (extra or {})
        process = subprocess.Popen(
            [sys.executable, *program, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            **more,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def run(start):
    """Run the command line to its end; returns exit code, standard output and standard error."""

    def call(*arguments, **more):
        process = start(*arguments, **more)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    return call
