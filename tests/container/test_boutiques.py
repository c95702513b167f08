"""Boutiques starts the image as its descriptor says."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.container.conftest import call

pytestmark = [pytest.mark.container, pytest.mark.xdist_group("container")]

DESCRIPTOR = Path(__file__).resolve().parents[2] / "boutiques" / "migxai.json"
BOSH = os.environ.get("MIGXAI_BOSH") or shutil.which("bosh")


@pytest.mark.skipif(BOSH is None, reason="there is no bosh (pip install boutiques, or MIGXAI_BOSH)")
@pytest.mark.skipif("MIGXAI_DOCKER_IMAGE" not in os.environ, reason="MIGXAI_DOCKER_IMAGE does not name an image")
def test_launch(map_cohort, tmp_path):
    image = os.environ["MIGXAI_DOCKER_IMAGE"]
    assert image == json.loads(DESCRIPTOR.read_text())["container-image"]["image"], "the descriptor names this version"
    shutil.copytree(map_cohort, tmp_path / "bids")
    given = {"bids_dir": "bids", "output_dir_name": "out", "analysis_level": "group", "models": ["svm"], "trials": 1}
    given |= {"indicators": ["reho"], "comparison": ["hc_vs_migraine"], "folds": 3, "bootstraps": 50}
    (tmp_path / "invocation.json").write_text(json.dumps(given))
    done = call(BOSH, "exec", "launch", DESCRIPTOR, tmp_path / "invocation.json", cwd=str(tmp_path))
    assert done.code == 0, done.text
    # It ends well whatever became of the program.
    assert "Done." in done.text
    scores = (tmp_path / "out" / "group" / "metrics.tsv").read_text()
    assert "svm" in scores
