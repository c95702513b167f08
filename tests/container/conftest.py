"""The image as users run it: read-only, without a network, as somebody it has never heard of.

Set ``MIGXAI_DOCKER_IMAGE`` to the name of a built image, ``MIGXAI_SIF`` to a built Apptainer image.
``MIGXAI_APPTAINER`` replaces the command ``apptainer``: it may hold several words, for instance to become another user
first, whose number is then in ``MIGXAI_APPTAINER_UID``. What is not named is skipped. Run with
``pytest -m container tests/container``.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.map_fixtures import map_cohort

__all__ = ["map_cohort"]

#: A user without an entry in the image's passwd, and without rights.
UID = 12345


@dataclass(frozen=True)
class Finished:
    code: int
    text: str


@dataclass(frozen=True)
class Engine:
    """Docker or Apptainer, and how it is told what the container may see and do."""

    command: tuple[str, ...]
    image: str
    bind: str
    uid: int
    read_only: str = ":ro"

    def run(self, *arguments: object, binds: dict[Path, str], extra: Sequence[str] = ()) -> Finished:
        """Run migxai on folders of this machine, each bound to a place in the container."""
        bound = [part for folder, place in binds.items() for part in (self.bind, f"{folder}:{place}")]
        # A wrapper around the engine may see nothing but the working directory and what lies below it.
        places = [*binds, *([Path(self.image).parent] if Path(self.image).is_file() else [])]
        where = os.path.commonpath(places) if places else None
        return call(*self.command, *bound, *extra, self.image, *arguments, cwd=where)


def call(*command: object, timeout: float = 1800, cwd: str | None = None) -> Finished:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
    )
    return Finished(done.returncode, done.stdout)


def docker() -> Engine:
    image = os.environ.get("MIGXAI_DOCKER_IMAGE")
    if not image or shutil.which("docker") is None:
        pytest.skip("no docker on PATH, or MIGXAI_DOCKER_IMAGE does not name an image")
    confined = f"run --rm --read-only --network none --user {UID}:{UID} --cap-drop ALL --memory 4g"
    return Engine(("docker", *confined.split()), image, "-v", UID)


def apptainer() -> Engine:
    sif = os.environ.get("MIGXAI_SIF")
    command = shlex.split(os.environ.get("MIGXAI_APPTAINER", "apptainer"))
    uid = int(os.environ.get("MIGXAI_APPTAINER_UID", os.getuid()))
    if not sif or shutil.which(command[0]) is None:
        pytest.skip("no apptainer on PATH, or MIGXAI_SIF does not name an image")
    return Engine((*command, "run", "--containall", "--no-home"), sif, "--bind", uid)


@pytest.fixture(scope="session", params=[docker, apptainer])
def engine(request) -> Engine:
    return request.param()


@pytest.fixture(scope="session")
def outside(tmp_path_factory):
    """Run migxai outside any container, once for each case; returns the output."""
    made: dict[tuple[str, ...], Path] = {}

    def run(dataset: Path, *arguments: str) -> Path:
        key = (str(dataset), *arguments)
        if key not in made:
            output = tmp_path_factory.mktemp("outside") / "out"
            done = call(sys.executable, "-m", "migxai", dataset, output, *arguments)
            assert done.code == 0, done.text
            made[key] = output
        return made[key]

    return run


@pytest.fixture
def out(tmp_path) -> Path:
    """An output folder that the container's user may write."""
    return open_folder(tmp_path / "out")


def open_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    # pytest's own folders are for their owner alone, and so nothing below them can be reached by anyone else.
    for above in list(folder.parents)[:4]:
        if above.name.startswith(("pytest", "test_", "demo_", "popen-")):
            above.chmod(0o755)
    return folder
