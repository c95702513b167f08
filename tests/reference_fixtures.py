"""The reference series and what other programs compute from it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent / "data" / "indicators"


@pytest.fixture(scope="session")
def reference():
    """`bold`, `mask`, `repetition_time` and `programs`: name of program and quantity to map."""
    with np.load(FOLDER / "input.npz") as content:
        bold, mask, repetition_time = content["bold"], content["mask"].astype(bool), float(content["TR"])
    with np.load(FOLDER / "references.npz") as content:
        programs = dict(content)
    return SimpleNamespace(bold=bold, mask=mask, repetition_time=repetition_time, programs=programs)
