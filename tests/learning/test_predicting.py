"""New maps by a saved model: the same numbers as in training, and a sentence where a map does not fit."""

from __future__ import annotations

import dataclasses
import functools

import nibabel as nib
import numpy as np
import pytest

from migxai import __version__
from migxai.config import Learning
from migxai.data import load_atlas
from migxai.errors import InputError
from migxai.learning import load_model
from migxai.learning.estimators import make_estimator
from migxai.learning.feature_store import ModelInputs
from migxai.learning.persistence import ModelCard, save_model, software_versions, trunk_facts
from migxai.learning.predicting import MapFacts, predict_maps
from migxai.learning.slices import cut, plan_slices, scale_intensity
from migxai.registration.resample import labels_on_grid
from migxai.registration.space import template_brain
from migxai.signal.maps import covered_means

SHAPE = (20, 24, 20)
AFFINE = np.array([[9.0, 0, 0, -86], [0, 9.0, 0, -122], [0, 0, 9.0, -66], [0, 0, 0, 1]])
LABELS = np.arange(12) % 2
INDICES = tuple(range(1, 13))
DEFINITION = {"Definition": "Kendall's W", "Neighbours": 27, "SmoothedAfter": 4.0}
FACTS = MapFacts("reho", "MNI152NLin2009cAsym", DEFINITION, __version__)
OPTIONS = {"class_weights": "balanced", "unfreeze": "linear", "epochs": 1}


@functools.cache
def grid_of_labels():
    """Twelve regions that fill an ellipsoid: four in the plane by three in height."""
    x, y, z = np.indices(SHAPE)
    inside = ((x - 9.5) / 9) ** 2 + ((y - 11.5) / 11) ** 2 + ((z - 9.5) / 9) ** 2 < 1
    return np.where(inside, 1 + (x > 9) + 2 * (y > 11) + 4 * np.clip((z - 3) // 5, 0, 2), 0)


@pytest.fixture(scope="module")
def own_atlas(tmp_path_factory):
    path = tmp_path_factory.mktemp("atlas") / "atlas-Own_dseg.nii.gz"
    nib.save(nib.Nifti1Image(grid_of_labels().astype(np.int16), AFFINE), path)
    path.with_name("own.tsv").write_text("index\tname\n" + "".join(f"{k}\tr{k}\n" for k in INDICES))
    return load_atlas(path, path.with_name("own.tsv"))


@functools.cache
def volumes():
    rng = np.random.default_rng(0)
    brain = grid_of_labels() > 0
    made = rng.normal(1, 0.2, (12, *SHAPE)) + 0.1 * LABELS[:, None, None, None]
    return [(np.where(brain, item, 0)).astype(np.float32) for item in made]


def table():
    rows = [covered_means(item, grid_of_labels(), INDICES, item != 0)[0] for item in volumes()]
    subjects = tuple(f"ds1/sub-{row + 1:02d}" for row in range(12))
    return ModelInputs(subjects, np.stack(rows), np.ones((12, 1)), ("age",))


def make_card(model, **more):
    card = ModelCard(
        comparison="hc_vs_migraine",
        classes=("HC", "migraine"),
        model=model,
        indicator="reho",
        definition=DEFINITION,
        space="MNI152NLin2009cAsym",
        res="9",
        grid={"shape": list(SHAPE), "affine": AFFINE.tolist()},
        options=OPTIONS,
        cohort={"n": 12},
        regions={"atlas": "Own", "indices": list(INDICES), "min_coverage": 0.5},
        versions=software_versions(deep=False),
    )
    return dataclasses.replace(card, **more)


def saved_model(tmp_path, model, **more):
    made = make_estimator(model, Learning(), n_classes=2, seed=0).fit(table(), np.arange(8), LABELS[:8])
    save_model(tmp_path / f"{model}.safetensors", made, make_card(model, **more))
    return load_model(tmp_path / f"{model}.safetensors"), made


def new_maps(items=None):
    return [(f"new/sub-{row + 1:02d}", item, AFFINE) for row, item in enumerate(items or volumes()[8:])]


@pytest.mark.parametrize("model", ["svm", "rf", "majority"])
def test_same_numbers_as_in_training(tmp_path, own_atlas, model):
    saved, made = saved_model(tmp_path, model)
    found = predict_maps(saved, new_maps(), [FACTS] * 4, Learning(), atlas=own_atlas)
    assert list(found.table.columns) == ["subject", "predicted", "p[HC]", "p[migraine]"]
    assert found.table["subject"].tolist() == [key for key, _, _ in new_maps()]
    expected = made.predict(table(), np.arange(8, 12))[:, 0]
    np.testing.assert_allclose(found.table[["p[HC]", "p[migraine]"]].to_numpy(), expected, atol=1e-12)
    assert found.table["predicted"].tolist() == [("HC", "migraine")[place] for place in expected.argmax(axis=1)]
    assert found.messages == ()


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"indicator": "alff"}, "indicator is alff, the model's reho"),
        ({"space": "MNI152NLin6Asym"}, "space is MNI152NLin6Asym, the model's MNI152NLin2009cAsym"),
        ({"definition": {**DEFINITION, "Neighbours": 7}}, "Neighbours 7, the model's maps with 27"),
    ],
)
def test_refuses_maps_of_another_kind(tmp_path, facts, words):
    saved, _ = saved_model(tmp_path, "svm")
    with pytest.raises(InputError, match=f"new/sub-02 does not fit the model: .*{words}"):
        predict_maps(saved, new_maps(), [FACTS, dataclasses.replace(FACTS, **facts), FACTS, FACTS], Learning())


def test_refuses_maps_on_another_grid(tmp_path):
    saved, _ = saved_model(tmp_path, "svm")
    small, moved = volumes()[0][:-1], AFFINE.copy()
    moved[0, 3] += 2
    with pytest.raises(InputError, match="19x24x20 voxels, the model's 20x24x20"):
        predict_maps(saved, [("a", small, AFFINE)], [FACTS], Learning())
    with pytest.raises(InputError, match="up to 2 mm off"):
        predict_maps(saved, [("a", volumes()[0], moved)], [FACTS], Learning())


def test_says_what_is_not_known_and_which_version_made_what(tmp_path, own_atlas):
    saved, _ = saved_model(tmp_path, "svm", versions={"migxai": "0.0.9"})
    silent = MapFacts("reho", "MNI152NLin2009cAsym", {"Definition": "Kendall's W", "Band": 1}, None)
    messages = predict_maps(saved, new_maps()[:2], [FACTS, silent], Learning(), atlas=own_atlas).messages
    assert messages == (
        "Not known of both the model and every map, so not compared: Band, Neighbours, SmoothedAfter.",
        f"The model was saved by migxai 0.0.9; this is {__version__}.",
        f"1 of 2 maps were made by migxai {__version__}, the model by 0.0.9.",
        "1 of 2 maps were made by migxai an unknown version, the model by 0.0.9.",
    )


def test_thin_and_empty_maps(tmp_path, own_atlas):
    saved, _ = saved_model(tmp_path, "svm")
    half = volumes()[9].copy()
    half[:, :, :11] = 0
    messages = predict_maps(saved, new_maps([half]), [FACTS], Learning(), atlas=own_atlas).messages
    assert len(messages) == 1
    assert "new/sub-01 covers" in messages[0]
    with pytest.raises(InputError, match="new/sub-01 covers no region"):
        predict_maps(saved, new_maps([np.zeros(SHAPE)]), [FACTS], Learning(), atlas=own_atlas)


def test_refuses_models_that_read_no_maps_or_do_not_say_how(tmp_path):
    saved, _ = saved_model(tmp_path, "nuisance")
    with pytest.raises(InputError, match="reads motion, age, sex and site, not maps"):
        predict_maps(saved, new_maps(), [FACTS] * 4, Learning())
    saved, _ = saved_model(tmp_path, "svm", regions=None)
    with pytest.raises(InputError, match="does not say which regions"):
        predict_maps(saved, new_maps(), [FACTS] * 4, Learning())
    saved, _ = saved_model(tmp_path, "svm")
    for atlas in (None, load_atlas()):
        with pytest.raises(InputError, match="the 12 regions of the atlas Own"):
            predict_maps(saved, new_maps(), [FACTS] * 4, Learning(), atlas=atlas)
    with pytest.raises(InputError, match="0 maps"):
        predict_maps(saved, [], [], Learning())


def test_the_packaged_atlas_is_found_by_its_name(tmp_path):
    atlas, affine = load_atlas(), np.array([[4.0, 0, 0, -40], [0, 4.0, 0, -60], [0, 0, 4.0, -20], [0, 0, 0, 1]])
    grid = labels_on_grid(atlas.data, atlas.affine, SHAPE, affine)
    rows = np.stack([covered_means(item, grid, atlas.indices, item != 0)[0] for item in volumes()])
    inputs = dataclasses.replace(table(), regions=rows)
    made = make_estimator("svm", Learning(), n_classes=2, seed=0).fit(inputs, np.arange(8), LABELS[:8])
    regions = {"atlas": "AAL", "indices": list(atlas.indices)}
    card = make_card("svm", regions=regions, grid={"shape": list(SHAPE), "affine": affine.tolist()})
    save_model(tmp_path / "svm.safetensors", made, card)
    maps = [(key, item, affine) for key, item, _ in new_maps()]
    found = predict_maps(load_model(tmp_path / "svm.safetensors"), maps, [FACTS] * 4, Learning(min_fov=0.0))
    expected = made.predict(inputs, np.arange(8, 12))[:, 0, 1]
    np.testing.assert_allclose(found.table["p[migraine]"], expected, atol=1e-12)
    assert found.messages == ()


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A ResNet18 with random weights, its classifier trained on two slices for one epoch, saved; and its store."""
    from migxai.learning.backbone import make_backbone
    from migxai.learning.feature_store import FeatureStore, extract_subject, make_feature_spec

    settings = Learning(weights="random", precision="fp32", augmentations=1, **OPTIONS)
    geometry = plan_slices(SHAPE, AFFINE, grid_of_labels() > 0, axis="axial", count=2)
    backbone, spec = make_backbone("resnet18", settings, 5), make_feature_spec("resnet18", settings, geometry, 5)
    folder = tmp_path_factory.mktemp("network")
    subjects, hashes = table().subjects[:6], [f"{row:016x}" for row in range(6)]
    for subject, digest, volume in zip(subjects, hashes, volumes()[:6], strict=True):
        planes = cut(scale_intensity(volume, (volume != 0) & template_brain(SHAPE, AFFINE)), geometry)
        extract_subject(backbone, planes, spec, folder=folder, subject=subject, map_hash=digest)
    inputs = dataclasses.replace(table(), store=FeatureStore.open(folder, spec.key, hashes, subjects))
    made = make_estimator("resnet18", settings, n_classes=2, seed=0).fit(inputs, np.arange(4), LABELS[:4])
    trunk = trunk_facts("resnet18", settings, 5)
    assert trunk == {"kind": "random", "hash": spec.weights_hash, "precision": "fp32", "seed": 5}
    card = make_card("resnet18", slicing=geometry.to_dict(), trunk=trunk, regions=None)
    save_model(folder / "resnet18.safetensors", made, card)
    return folder / "resnet18.safetensors", inputs, made


def test_a_network_gives_the_same_numbers_as_in_training(network, tmp_path):
    path, inputs, made = network
    found = predict_maps(load_model(path), new_maps(volumes()[4:6]), [FACTS] * 2, Learning(), work_dir=tmp_path)
    expected = made.predict(inputs, np.arange(4, 6)).mean(axis=1)
    np.testing.assert_allclose(found.table[["p[HC]", "p[migraine]"]].to_numpy(), expected, atol=1e-12)
    assert not list(tmp_path.iterdir()), "features are not left behind"


def test_a_network_refuses_other_weights_and_empty_maps(network):
    saved = load_model(network[0])
    other = dataclasses.replace(
        saved, card=dataclasses.replace(saved.card, trunk=saved.card.trunk | {"hash": "0" * 64})
    )
    with pytest.raises(InputError, match="random weights have the hash 000000000000; those found here have"):
        predict_maps(other, new_maps(), [FACTS] * 4, Learning())
    with pytest.raises(InputError, match=r"new/sub-01: .*constant"):
        predict_maps(saved, new_maps([np.ones(SHAPE, np.float32)]), [FACTS], Learning())
    bare = dataclasses.replace(saved, card=dataclasses.replace(saved.card, slicing=None))
    with pytest.raises(InputError, match="does not say how it is fed"):
        predict_maps(bare, new_maps(), [FACTS] * 4, Learning())


def test_a_network_looks_for_the_pretrained_weights_it_was_trained_on(network, tmp_path, monkeypatch):
    saved = load_model(network[0])
    card = dataclasses.replace(saved.card, trunk={"kind": "imagenet", "hash": "0" * 64, "precision": "bf16"})
    for name in ("TORCH_HOME", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(InputError, match="resnet18"):
        predict_maps(dataclasses.replace(saved, card=card), new_maps(), [FACTS] * 4, Learning())
