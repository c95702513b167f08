"""Models as files: back to the bit, and a sentence for every file that is none."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import load, save_file

from migxai.config import Learning
from migxai.errors import InputError, OutputError
from migxai.learning import load_model
from migxai.learning.estimators import make_estimator
from migxai.learning.persistence import ModelCard, cohort_summary, software_versions
from tests.evaluation.tables import make_table

INPUTS, LABELS = make_table(40, classes=3)


def make_card(model="svm", **more):
    card = ModelCard(
        comparison="three-groups",
        classes=("HC", "MWoA", "MWA"),
        model=model,
        indicator="reho",
        definition={"Definition": "Kendall's W with mid-ranks", "Neighbours": 27},
        space="MNI152NLin2009cAsym",
        res="3",
        grid={"shape": [4, 5, 6], "affine": np.diag([3.0, 3, 3, 1])},
        options={"class_weights": "none"},
        cohort=cohort_summary(LABELS, ("HC", "MWoA", "MWA"), sites=["a", "b"] * 20, ages=[30.5, np.nan] * 20),
        regions={"atlas": "AAL", "indices": list(range(1, 13)), "min_coverage": 0.5},
        metrics={"balanced_accuracy": {"value": 0.41, "low": 0.3, "high": 0.52}, "roc_auc": np.nan},
        inputs={"maps": "0123abcd"},
        versions=software_versions(deep=False),
    )
    return dataclasses.replace(card, **more)


def saved(tmp_path, model="svm"):
    from migxai.learning.persistence import save_model

    made = make_estimator(model, Learning(), n_classes=3, seed=0).fit(INPUTS, np.arange(40), LABELS)
    path = tmp_path / "models" / f"{model}.safetensors"
    save_model(path, made, make_card(model))
    return path, made


@pytest.mark.parametrize("model", ["svm", "rf", "majority", "nuisance"])
def test_predicts_to_the_bit_what_was_saved(tmp_path, model):
    path, made = saved(tmp_path, model)
    found = load_model(path)
    assert found.card.classes == ("HC", "MWoA", "MWA")
    assert found.settings().class_weights == "none"
    assert np.array_equal(found.estimator().predict(INPUTS, np.arange(40)), made.predict(INPUTS, np.arange(40)))


def test_same_model_same_bytes_and_a_card_beside_it(tmp_path):
    path, _ = saved(tmp_path)
    names = {item.name for item in path.parent.iterdir()}
    assert names == {"svm.safetensors", "svm.json", "svm.md"}
    first = path.read_bytes()
    saved(tmp_path)
    assert path.read_bytes() == first
    assert ModelCard.from_dict(json.loads(path.with_suffix(".json").read_text())) == load_model(path).card
    text = path.with_suffix(".md").read_text()
    for part in (
        "# svm on reho: three-groups", "HC, MWoA, MWA", "NOT a diagnostic device", "Neighbours: 27", "12 of AAL",
        "balanced_accuracy: 0.41 (95 % interval 0.3 to 0.52)", "roc_auc: unknown", "age: n 20, mean 30.5", "4 x 5 x 6",
        "sites: a 20, b 20", "scikit-learn", "Licence",
    ):  # fmt: skip
        assert part in text, part


def test_cohort_without_ages_or_sites():
    assert cohort_summary(np.array([0, 0, 1]), ("A", "B")) == {"n": 3, "classes": {"A": 2, "B": 1}}
    assert "age" not in cohort_summary(np.array([0, 1]), ("A", "B"), ages=[np.nan, np.nan])
    assert cohort_summary(np.array([0]), ("A",), ages=[30])["age"]["sd"] is None


def test_damaged_files_get_a_sentence(tmp_path):
    path, _ = saved(tmp_path)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[-20] ^= 1
    place = content.index(b"three-groups")
    for broken, words in (
        (content[:-100], "not a whole safetensors"),
        (content[:40], "not a whole safetensors"),
        (b"", "not a whole safetensors"),
        (b"PK\x03\x04 a pickle of another library", "not a whole safetensors"),
        (bytes(flipped), "is damaged"),
        (content[:place] + b"T" + content[place + 1 :], "is damaged"),
    ):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=rf"svm\.safetensors.*{words}"):
            load_model(path)
    with pytest.raises(InputError, match="no model gone"):
        load_model(tmp_path / "gone.safetensors")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, "not a model of migxai"),
        ({"format": "pt"}, "not a model of migxai"),
        ({"migxai": "{"}, "not a model of migxai"),
        ({"migxai": "[1]"}, "not a model of migxai"),
        ({"migxai": '{"format": 1}'}, "not a model of migxai"),
        ({"migxai": '{"format": 2, "card": "whatever a later version writes"}'}, "format 2, this one reads 1"),
    ],
)
def test_foreign_and_newer_files_get_a_sentence(tmp_path, metadata, words):
    path = tmp_path / "other.safetensors"
    save_file({"fc.weight": np.zeros((2, 3), np.float32)}, path, metadata=metadata)
    with pytest.raises(InputError, match=words):
        load_model(path)


def test_card_without_a_field_and_model_without_an_array(tmp_path):
    path, _ = saved(tmp_path)
    card = make_card().to_dict()
    del card["space"]
    with pytest.raises(InputError, match="no field 'space'"):
        ModelCard.from_dict(card)
    tensors = load(path.read_bytes())
    del tensors["coef"]
    with pytest.raises(InputError, match="'coef'"):
        dataclasses.replace(load_model(path), tensors=tensors).estimator()


def test_name_and_place_of_the_file(tmp_path):
    from migxai.learning.persistence import save_model

    made = make_estimator("majority", Learning(), n_classes=3, seed=0).fit(INPUTS, np.arange(40), LABELS)
    with pytest.raises(ValueError, match="safetensors"):
        save_model(tmp_path / "model.bin", made, make_card())
    (tmp_path / "models").write_text("in the way")
    with pytest.raises(OutputError):
        save_model(tmp_path / "models" / "a.safetensors", made, make_card())
