from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from migxai.errors import InputError
from migxai.evaluation.results import (
    GroupFolder,
    read_description,
    write_cohort_statistics,
    write_if_any,
    write_predictions,
    write_scores,
)
from migxai.group import score as predictions

DESCRIPTION = {
    "Comparisons": {"one": ["HC", "MWA"]},
    "CrossValidation": "kfold",
    "Seed": 3,
    "Options": {"bootstraps": 20},
    "State": "complete",
}


def make_tables(*, slices=2, people=12, models=("net", "svm"), seed=0):
    """Two trials of two folds of each model; the first one sees slices."""
    rng = np.random.default_rng(seed)
    folds = []
    for place, model in enumerate(models):
        for trial in (1, 2):
            order = rng.permutation(people)
            for fold in (1, 2):
                rows = np.sort(order[fold - 1 :: 2])
                size = (len(rows), slices if place == 0 else 1)
                folds.append(
                    predictions.TestedFold(
                        comparison="one",
                        indicator="reho",
                        model=model,
                        trial=trial,
                        fold=fold,
                        classes=("HC", "MWA"),
                        subjects=tuple(f"data/sub-{row:02d}" for row in rows),
                        labels=rows % 2,
                        probabilities=rng.dirichlet([1, 1], size=size),
                    )
                )
    return predictions.prediction_tables(folds, "mean")


@pytest.fixture
def folder(tmp_path):
    return GroupFolder.of(tmp_path)


def read(path):
    return pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)


def test_places(tmp_path, folder):
    assert folder.file("a.tsv") == tmp_path / "group" / "a.tsv"
    assert (folder.features, folder.models) == (tmp_path / "group" / "features", tmp_path / "group" / "models")


def test_predictions_have_six_digits_and_read_back(folder):
    subjects, slices = make_tables()
    write_predictions(folder, subjects, slices)
    found = read(folder.file("predictions.tsv"))
    np.testing.assert_allclose(found["p[HC]"], subjects["p[HC]"], atol=5e-7)
    pd.testing.assert_frame_equal(found.iloc[:, :8], subjects.iloc[:, :8], check_dtype=False)
    assert len(read(folder.file("predictions_slices.tsv"))) == len(slices) == 2 * 2 * 12
    text = folder.file("predictions.tsv").read_text().splitlines()[1].split("\t")
    assert all(len(cell) == len("0.123456") for cell in text[-2:])


def test_tables_of_an_earlier_run_go(folder):
    subjects, slices = make_tables()
    write_predictions(folder, subjects, slices)
    write_predictions(folder, subjects[subjects["model"] == "svm"], pd.DataFrame())
    assert not folder.file("predictions_slices.tsv").exists()
    write_predictions(folder, pd.DataFrame(), pd.DataFrame())
    assert not folder.file("predictions.tsv").exists()
    write_if_any(folder.file("a.tsv"), pd.DataFrame())
    write_if_any(folder.file("a.tsv"), pd.DataFrame({"a": [1.23456]}), float_format="%.2f")
    assert folder.file("a.tsv").read_text() == "a\n1.23\n"


def test_scores_are_those_of_the_files_beside_them(folder):
    subjects, slices = make_tables()
    write_predictions(folder, subjects, slices)
    scores = write_scores(folder, DESCRIPTION)
    table = read(folder.file("metrics.tsv"))
    assert len(table) == len(scores.table)
    own = table[(table["metric"] == "accuracy") & (table["model"] == "svm")].set_index("level")["value"]
    trials = [rows for _, rows in subjects[subjects["model"] == "svm"].groupby("trial")]
    expected = np.mean([accuracy_score(rows["label"], rows["predicted"]) for rows in trials])
    assert own["subject"] == pytest.approx(expected)
    assert set(table["level"][table["model"] == "net"]) == {"subject", "slice"}
    document = json.loads(folder.file("metrics.json").read_text())
    assert len(document["units"]) == 3
    assert (document["seed"], document["bootstraps"]) == (3, 20)
    assert len(read(folder.file("model_comparisons.tsv"))) > 0
    names = ("metrics.tsv", "metrics.json", "model_comparisons.tsv")
    before = [folder.file(name).read_bytes() for name in names]
    write_scores(folder, DESCRIPTION)
    assert [folder.file(name).read_bytes() for name in names] == before


def test_no_cell_of_the_scores_is_empty(folder):
    write_predictions(folder, *make_tables())
    write_scores(folder, DESCRIPTION)
    for name in ("metrics.tsv", "model_comparisons.tsv"):
        cells = [line.split("\t") for line in folder.file(name).read_text().splitlines()]
        assert all(all(row) for row in cells), name


def test_one_model_alone_has_nothing_to_be_compared_with(folder):
    write_predictions(folder, *make_tables())
    write_scores(folder, DESCRIPTION)
    write_predictions(folder, *make_tables(models=("svm",), slices=1))
    write_scores(folder, DESCRIPTION)
    assert not folder.file("model_comparisons.tsv").exists()
    assert set(read(folder.file("metrics.tsv"))["model"]) == {"svm"}


def test_predictions_that_do_not_fit_the_description_are_refused(folder):
    write_predictions(folder, *make_tables())
    with pytest.raises(InputError):
        write_scores(folder, DESCRIPTION | {"Comparisons": {"another": ["HC", "MWA"]}})
    text = folder.file("predictions.tsv").read_text()
    folder.file("predictions.tsv").write_text(text.replace("p[HC]", "p[XX]"))
    with pytest.raises(InputError):
        write_scores(folder, DESCRIPTION)
    folder.file("predictions.tsv").unlink()
    with pytest.raises(InputError, match=r"predictions\.tsv cannot be read"):
        write_scores(folder, DESCRIPTION)


@pytest.mark.parametrize("name", DESCRIPTION)
def test_a_description_has_to_be_whole(folder, name):
    with pytest.raises(InputError, match="holds no results of the group level; run it first"):
        read_description(folder)
    folder.root.mkdir()
    folder.description.write_text(json.dumps(DESCRIPTION))
    assert read_description(folder) == DESCRIPTION
    folder.description.write_text(json.dumps({key: value for key, value in DESCRIPTION.items() if key != name}))
    with pytest.raises(InputError, match=f"description.json has no {name}; run the group level again"):
        read_description(folder)
    folder.description.write_text("{")
    with pytest.raises(InputError, match=r"description\.json is not valid JSON"):
        read_description(folder)


def test_the_cohorts_table_names_nobody(folder):
    people = pd.DataFrame(
        {
            "participant_id": [f"sub-{number:02d}" for number in range(12)],
            "group": ["HC", "MWoA", "MWA"] * 4,
            "age": np.arange(20, 32, dtype=float),
            "sex": ["F", "M"] * 6,
        }
    )
    write_cohort_statistics(folder, people, ["HC", "MWoA", "MWA"], 0)
    table = read(folder.file("table1.tsv"))
    assert table["Variable"].str.contains("age", case=False).any()
    assert "sub-" not in folder.file("table1.tsv").read_text()
