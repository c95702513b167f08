from __future__ import annotations

import pytest

from migxai.evaluation.results import Results, read_results
from tests.reports.group.building import make_group


@pytest.fixture(scope="session")
def results(tmp_path_factory) -> Results:
    """The results of a small run without maps."""
    return read_results(make_group(tmp_path_factory.mktemp("made")))
