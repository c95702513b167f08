"""What comes out of a container is what comes out beside it."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from tests.container.conftest import open_folder

pytestmark = [pytest.mark.container, pytest.mark.xdist_group("container"), pytest.mark.timeout(3600)]

GROUP = "--models googlenet svm --weights random --indicators reho --slices 4 --bootstraps 50 --folds 3 --trials 1"
GROUP += " --epochs 2 --augmentations 1 --comparison hc_vs_migraine"
#: Which take minutes, and are arithmetic that the rest of the run does too.
GROUP += " --no-sanity-checks"


def content(root: Path) -> set[str]:
    files = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return {name for name in files if not name.startswith(("logs/", ".work", "group/features"))}


def same(ours: Path, theirs: Path) -> None:
    """Assert that two outputs hold the same files, and equal numbers in maps and tables."""
    names = content(ours)
    assert names == content(theirs)
    assert any(name.endswith((".nii.gz", ".tsv")) for name in names)
    for name in sorted(names):
        if name.endswith(".nii.gz"):
            one, other = nib.load(ours / name), nib.load(theirs / name)
            np.testing.assert_allclose(one.affine, other.affine, atol=1e-6, err_msg=name)
            np.testing.assert_allclose(one.get_fdata(), other.get_fdata(), atol=1e-6, rtol=1e-6, err_msg=name)
        elif name.endswith(".tsv"):
            frames = [pd.read_csv(root / name, sep="\t", na_values="n/a") for root in (ours, theirs)]
            pd.testing.assert_frame_equal(*frames, rtol=1e-6, atol=1e-6, obj=name)


def test_a_real_person(engine, outside, out, shared_data):
    dataset = shared_data / "raw-1subject"
    done = engine.run("/bids", "/out", "participant", binds={dataset: f"/bids{engine.read_only}", out: "/out"})
    assert done.code == 0, done.text
    same(out, outside(dataset, "participant"))
    assert not (out / ".work").exists()
    made_by = json.loads((out / "dataset_description.json").read_text())["GeneratedBy"][0]
    assert made_by["Container"]["Tag"].startswith("migxai:")


def test_the_demo_at_participant_level(engine, outside, out, demo_small):
    dataset = demo_small / "raw"
    open_folder(demo_small)
    done = engine.run("/bids", "/out", "participant", binds={dataset: f"/bids{engine.read_only}", out: "/out"})
    assert done.code == 0, done.text
    same(out, outside(dataset, "participant"))


def test_the_demo_at_group_level(engine, outside, out, map_cohort):
    open_folder(map_cohort)
    level = ("group", *GROUP.split())
    done = engine.run("/bids", "/out", *level, binds={map_cohort: f"/bids{engine.read_only}", out: "/out"})
    assert done.code == 0, done.text
    same(out, outside(map_cohort, *level))
