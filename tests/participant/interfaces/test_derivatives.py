import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from migxai.config import Config
from migxai.participant.interfaces.derivatives import RunFiles
from tests.participant.facts_fixtures import run_facts

MASK = np.zeros((3, 3, 3), dtype=bool)
MASK[1] = True
STEM = "sub-01/func/sub-01_task-rest"
MNI = f"{STEM}_space-MNI152NLin2009cAsym"


@pytest.fixture
def files(tmp_path):
    facts = run_facts(excluded="It moved.")
    return RunFiles(tmp_path, {"sub": "01", "task": "rest"}, facts, Config())


def test_maps_lie_on_the_grid_of_their_mask(files):
    files.write_maps(
        {"alff": np.arange(9, dtype=np.float32), "alff-raw": np.ones(9, dtype=np.float32)}, MASK, np.eye(4)
    )
    names = [f"{MNI}_res-3_stat-alff{form}_boldmap" for form in ("", "_desc-raw")]
    assert files.written == [name + ending for name in names for ending in (".nii.gz", ".json")]
    image = nib.load(files.output_dir / f"{names[0]}.nii.gz").get_fdata()
    np.testing.assert_array_equal(image[MASK], np.arange(9))
    assert not image[~MASK].any()
    sidecar = json.loads((files.output_dir / f"{names[0]}.json").read_text())
    assert sidecar["Excluded"]
    assert sidecar["ExclusionReason"] == "It moved."
    assert sidecar["Sources"] == ["bids:raw:a"]
    assert sidecar["Resolution"] == "3 mm isotropic"
    assert "AveragedRuns" not in sidecar


def test_tables_of_regions_have_no_resolution(files):
    regions = {"index": np.array([1, 2]), "names": np.array(["A", "B"]), "coverage": np.array([1.0, 0.0])}
    files.write_regional_values(regions | {"alff": np.array([1.5, np.nan])})
    names = [f"{MNI}_atlas-AAL_stat-{stat}_boldmap" for stat in ("coverage", "alff")]
    assert files.written == [name + ending for name in names for ending in (".tsv", ".json")]
    assert (files.output_dir / f"{names[1]}.tsv").read_text() == "index\tname\talff\n1\tA\t1.5\n2\tB\tn/a\n"
    assert "Resolution" not in json.loads((files.output_dir / f"{names[1]}.json").read_text())


def test_what_is_in_no_space_names_none(files, tmp_path):
    (tmp_path / "from-T1w_to-boldref.txt").write_text("#Insight Transform File V1.0\n")
    files.write_transform(tmp_path / "from-T1w_to-boldref.txt")
    files.write_confounds(pd.DataFrame({"trans_x": [0.0, 1.0], "kept": [1, 0]}))
    assert files.written == [
        f"{STEM}_from-T1w_to-boldref_mode-image_xfm.txt",
        f"{STEM}_from-T1w_to-boldref_mode-image_xfm.json",
        f"{STEM}_desc-confounds_timeseries.tsv",
        f"{STEM}_desc-confounds_timeseries.json",
    ]
