"""Demo cohorts that tests share: made once a session, also under xdist. Never write into them: copy first."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from migxai.demo.image_cohort import make_cohort
from migxai.demo.settings import SMALL, DemoSettings

#: For file handling: a few seconds for two subjects, too short a run for the default nuisance model.
TINY = DemoSettings(t1w_voxel=4.0, bold_shape=(34, 40, 26), bold_voxel=(6.0, 6.0, 6.0), volumes=30)


def build_demo(root: Path, recipe: DemoSettings, subjects: int) -> Path:
    """Make a cohort (``root/raw``, ``root/truth``), or wait for another process that is making it."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{root}.lock"):
        for _ in make_cohort(root, recipe, subjects):
            pass
    return root


def _shared_root(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    base = tmp_path_factory.getbasetemp()
    # Under xdist each worker has a folder of its own inside the session's.
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def demo_tiny(tmp_path_factory, request) -> Path:
    """Two subjects, 6 mm voxels, 30 volumes."""
    worker = getattr(request.config, "workerinput", {}).get("workerid", "master")
    return build_demo(_shared_root(tmp_path_factory, worker) / "demo_tiny", TINY, 2)


@pytest.fixture(scope="session")
def demo_small(tmp_path_factory, request) -> Path:
    """One subject of ``migxai-demo --small``: long enough for the whole participant level."""
    worker = getattr(request.config, "workerinput", {}).get("workerid", "master")
    return build_demo(_shared_root(tmp_path_factory, worker) / "demo_small", SMALL, 1)
