from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from migxai.config import Learning
from migxai.errors import InputError
from migxai.group.features import ExtractFeatures, with_store
from tests.group.cohorts import make_arrays

pytest.importorskip("torch", reason="features need migxai[torch]")

SETTINGS = Learning(weights="random", augmentations=1, precision="fp32")
MODEL = "resnet18"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The features of three people, made by one node."""
    folder = tmp_path_factory.mktemp("features")
    arrays = make_arrays(folder, people=3)
    return arrays, extract(arrays, [0, 1, 2], folder)


def extract(arrays, rows, folder, settings=SETTINGS, seed=0):
    node = ExtractFeatures(model=MODEL, arrays=arrays, rows=rows, settings=settings, seed=seed)
    return node.run(cwd=str(folder)).outputs.store


def stored(arrays):
    return sorted(Path(arrays.features).rglob("*.npy"))


def test_features_lie_in_a_folder_named_by_how_they_were_made(made):
    arrays, key = made
    assert len(stored(arrays)) == 3
    assert {path.parent.name for path in stored(arrays)} == {key}
    about = json.loads(stored(arrays)[0].with_suffix(".json").read_text())
    assert about["subject"] == "made/sub-01"
    assert about["map"] == arrays.hashes[0]


def test_what_is_there_is_not_made_again(made, tmp_path, monkeypatch):
    arrays, key = made
    before = [path.stat().st_mtime_ns for path in stored(arrays)]
    monkeypatch.setattr("migxai.learning.backbone.make_backbone", None)  # the network is not even built
    assert extract(arrays, [0, 1, 2], tmp_path) == key
    assert [path.stat().st_mtime_ns for path in stored(arrays)] == before


def test_the_same_people_one_by_one_get_the_same_bytes(made, tmp_path):
    arrays, _ = made
    apart = dataclasses.replace(arrays, features=str(tmp_path / "apart"))
    for row in (2, 0, 1):
        extract(apart, [row], tmp_path)
    assert [path.read_bytes() for path in stored(apart)] == [path.read_bytes() for path in stored(arrays)]


def test_a_change_of_the_map_or_the_seed_makes_others(made, tmp_path):
    arrays, key = made
    other = dataclasses.replace(arrays, hashes=("f" * 16, *arrays.hashes[1:]), features=str(tmp_path))
    assert extract(other, [0], tmp_path) == key
    assert stored(other)[0].name != stored(arrays)[0].name
    assert extract(dataclasses.replace(arrays, features=str(tmp_path)), [0], tmp_path, seed=1) != key


def test_models_get_the_store_they_need(made):
    arrays, key = made
    inputs = arrays.inputs()
    assert inputs.subjects == arrays.subjects
    assert with_store(inputs, arrays, "svm", SETTINGS, 0) is inputs
    store = with_store(inputs, arrays, MODEL, SETTINGS, 0).store
    assert (store.key, store.slices, store.views, store.subjects) == (key, 2, 1, arrays.subjects)


def test_missing_and_damaged_features_are_named(made, tmp_path):
    arrays, _ = made
    few = dataclasses.replace(arrays, features=str(tmp_path))
    extract(few, [0, 1], tmp_path)
    with pytest.raises(InputError, match="nothing of this map of made/sub-03"):
        with_store(few.inputs(), few, MODEL, SETTINGS, 0)
    extract(few, [2], tmp_path)
    path = stored(few)[1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{path.name} are damaged .* it is made again"):
        with_store(few.inputs(), few, MODEL, SETTINGS, 0)
    with pytest.raises(Exception, match=f"{path.name} are damaged"):
        extract(few, [0, 1, 2], tmp_path)
    path.unlink()
    path.with_suffix(".json").unlink()
    extract(few, [0, 1, 2], tmp_path)
    assert np.array_equal(np.load(path), np.load(stored(arrays)[1]))
