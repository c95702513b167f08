"""Fixtures that several layers' tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.command_fixtures import dataset, run, start
from tests.dataset_fixtures import as_json, fmriprep, image, raw
from tests.demo_fixtures import demo_small, demo_tiny
from tests.reference_fixtures import reference

__all__ = ["as_json", "dataset", "demo_small", "demo_tiny", "fmriprep", "image", "raw", "reference", "run", "start"]

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The developers' real data and reference values; tests that need them are skipped elsewhere."""
    folder = Path(os.environ.get("MIGXAI_SHARED", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the developers' reference data (shared/data, or MIGXAI_SHARED) is not on this machine")
    return folder
