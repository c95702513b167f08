from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from migxai.evaluation.results import GroupFolder, Results, read_results
from migxai.reports.group import gallery
from migxai.reports.group.report import write_report
from tests.reports.group.building import make_group, write_audit, write_maps

FAILED = {"name": "Cascading randomisation", "of": "Grad-CAM", "value": 0.912345, "limit": "under 0.5", "passed": False}


@pytest.fixture(scope="session", autouse=True)
def coarse():
    """Draw coarser than for print, which takes most of the time; `test_gallery` looks at what is printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "PRINT_DPI", gallery.PAGE_DPI)
        yield


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> GroupFolder:
    """A group folder without maps; tests that write take `folder`."""
    return make_group(tmp_path_factory.mktemp("made"))


@pytest.fixture
def folder(made, tmp_path) -> GroupFolder:
    shutil.copytree(made.root.parent, tmp_path / "out")
    return GroupFolder.of(tmp_path / "out")


@pytest.fixture(scope="session")
def results(made) -> Results:
    return read_results(made)


@pytest.fixture(scope="session")
def report(tmp_path_factory) -> Path:
    """The page of a simulated cohort with maps, a method that failed its check, and a participant's report."""
    folder = make_group(tmp_path_factory.mktemp("reported"))
    write_maps(folder, warning="randomising the network hardly changes the map", simulated=True)
    write_audit(folder, FAILED, {"name": "No person on both sides", "passed": True})
    page = '<nav aria-label="Sections"><ul>\n</ul></nav>'
    (folder.root.parent / "sub-03.html").write_text(page)
    return write_report(folder)
