from __future__ import annotations

import json
import os

import numpy as np
import psutil
import pytest
import torch

from migxai.errors import InputError
from migxai.learning.augmentation import apply, draw
from migxai.learning.feature_store import FeatureStore, estimate_bytes, extract_subject, is_extracted, make_feature_spec
from migxai.learning.slices import to_pixels
from tests.learning.networks import SLICES, backbone, geometry, planes, settings, subjects, write_store

NAME = "resnet18"
HASHES = [f"{number:064x}" for number in range(3)]


@pytest.fixture
def store(tmp_path):
    made, spec = write_store(tmp_path, NAME, settings(), 3)
    return made, spec, tmp_path


def test_a_batch_is_what_the_trunk_makes(store):
    made, spec, _ = store
    for view in range(3):
        pixels = torch.from_numpy(to_pixels(planes(3)[1], geometry())).unsqueeze(1)
        matrices = draw(spec.augmentation, seed=0, subject=subjects(3)[1], view=view, slices=SLICES)
        wanted = backbone(NAME).features(apply(pixels, matrices), clean=True)
        found = made.batch(np.array([1, 1]), np.array([0, 1]), np.array([view, view]))
        for name, tensor in found.items():
            torch.testing.assert_close(tensor, wanted[name].half().float())
    clean = made.clean(np.array([1, 1]), np.array([0, 1]))
    assert set(clean) == {*made.split.features, *made.split.clean}


def test_nothing_is_made_twice_and_gaps_are_filled(store):
    _, spec, folder = store
    paths = [spec.path(folder, subject, digest) for subject, digest in zip(subjects(3), HASHES, strict=True)]
    before = [path.stat().st_mtime_ns for path in paths]
    content = paths[2].read_bytes()
    paths[2].unlink()
    assert not is_extracted(spec, folder=folder, subject=subjects(3)[2], map_hash=HASHES[2])
    write_store(folder, NAME, settings(epochs=7, learning_rate=0.1), 3)
    assert [path.stat().st_mtime_ns for path in paths[:2]] == before[:2]
    assert paths[2].read_bytes() == content


@pytest.mark.parametrize(
    "changes", [{"augmentations": 1}, {"crop": 0.8}, {"rotation": 5.0}, {"augment_flip": True}, {"precision": "bf16"}]
)
def test_whatever_changes_features_changes_the_key(changes):
    assert (
        make_feature_spec(NAME, settings(**changes), geometry(), 0).key
        != make_feature_spec(NAME, settings(), geometry(), 0).key
    )


def test_training_does_not_change_the_key():
    other = settings(epochs=9, learning_rate=0.5, batch_size=7, folds=3, trials=2)
    assert make_feature_spec(NAME, other, geometry(), 0).key == make_feature_spec(NAME, settings(), geometry(), 0).key
    assert (
        make_feature_spec(NAME, settings(), geometry(3), 0).key
        != make_feature_spec(NAME, settings(), geometry(), 0).key
    )


def test_a_flipped_bit_is_found(store):
    _, spec, folder = store
    path = spec.path(folder, subjects(3)[1], HASHES[1])
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{path.name}.*damaged.*delete"):
        FeatureStore.open(folder, spec.key, HASHES, subjects(3))
    with pytest.raises(InputError, match="damaged"):
        is_extracted(spec, folder=folder, subject=subjects(3)[1], map_hash=HASHES[1])


def test_features_of_another_map_are_not_taken(store):
    _, spec, folder = store
    about = spec.path(folder, subjects(3)[0], HASHES[0]).with_suffix(".json")
    about.write_text(json.dumps(json.loads(about.read_text()) | {"map": HASHES[1]}))
    with pytest.raises(InputError, match="of another map"):
        FeatureStore.open(folder, spec.key, HASHES, subjects(3))
    with pytest.raises(InputError, match="absent"):
        FeatureStore.open(folder, spec.key, ["f" * 64], subjects(1))


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e6])
def test_numbers_that_16_bits_do_not_hold_are_refused(tmp_path, value):
    class Broken:
        split = backbone(NAME).split

        def features(self, images, *, clean=False):
            made = backbone(NAME).features(images, clean=clean)
            return {name: torch.full_like(tensor, value) for name, tensor in made.items()}

    spec = make_feature_spec(NAME, settings(), geometry(), 0)
    with pytest.raises(InputError, match="16 bits"):
        extract_subject(Broken(), planes(1)[0], spec, folder=tmp_path, subject="a", map_hash=HASHES[0])
    assert not list(tmp_path.rglob("*.npy")), "nothing half-written stays"


def test_size_is_foreseen(store):
    _, spec, folder = store
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert used <= estimate_bytes(spec, 3) <= 1.3 * used


def test_reading_does_not_fill_the_memory(tmp_path, monkeypatch):
    """Files of 160 MB in all, read whole: what stays resident is bounded by what is given back in between."""
    import migxai.learning.feature_store as module

    monkeypatch.setattr(module, "_RESIDENT", 2**22)
    width = backbone(NAME).split.view_size + backbone(NAME).split.clean_size
    size = int(80e6 // 2 // width) * width
    files = []
    for number in range(2):
        np.save(tmp_path / f"{number}.npy", np.ones(size, np.float16))
        files.append(np.load(tmp_path / f"{number}.npy", mmap_mode="r"))
    about = {"split": backbone(NAME).split.to_dict(), "slices": size // width, "views": 0, "key": "k", "map": "m"}
    opened = FeatureStore(files, [about | {"subject": "a"}, about | {"subject": "b"}])
    process = psutil.Process(os.getpid())
    before, peak = process.memory_info().rss, 0
    for start in range(0, opened.slices, 8):
        slices = np.arange(start, min(start + 8, opened.slices))
        for row in range(2):
            opened.batch(np.full_like(slices, row), slices, np.zeros_like(slices))
        peak = max(peak, process.memory_info().rss)
    assert peak - before < 60e6
