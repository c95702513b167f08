"""A cohort of made-up indicator maps that tests share: made once a session, also under xdist. Copy before writing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from migxai.demo.map_cohort import make_map_cohort

#: Four HC, three MWoA and two MWA and so on: 7, 5 and 4 of 16, so that two-class comparisons have folds of some size.
SUBJECTS = 16


def build_maps(root: Path, **settings: Any) -> Path:
    """Make a cohort, or wait for another process that is making it; returns the dataset (``root/maps``)."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{root}.lock"):
        return make_map_cohort(root, **settings)


@pytest.fixture(scope="session")
def map_cohort(tmp_path_factory, request) -> Path:
    """Sixteen people at two sites with all three indicators; the truth lies in ``map_cohort.parent / "truth"``."""
    base = tmp_path_factory.getbasetemp()
    # Under xdist each worker has a folder of its own inside the session's.
    base = base if not hasattr(request.config, "workerinput") else base.parent
    return build_maps(base / "demo_maps", subjects=SUBJECTS, sites=2)
