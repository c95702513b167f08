from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from migxai.errors import InputError
from migxai.evaluation.results import read_results
from migxai.io import write_tsv
from tests.reports.group.building import COMPARISON, DATASET


def test_scores_are_those_of_the_table(results, made):
    table = pd.read_csv(made.file("metrics.tsv"), sep="\t")
    chosen = table[(table["model"] == "svm") & (table["level"] == "subject") & (table["metric"] == "accuracy")].iloc[0]
    cell = next(cell for cell in results.scored_models if cell.model == "svm")
    assert (cell.scores["accuracy"].value, cell.n, cell.trials) == (chosen["value"], 24, 2)
    assert cell.name == "SVM on ReHo"
    assert [one.model for one in results.scored_models_of(COMPARISON)] == ["googlenet", "svm", "majority", "nuisance"]
    assert results.title(COMPARISON) == "HC versus migraine"
    assert results.class_counts(COMPARISON) == {"HC": 12, "Migraine": 12}
    assert len(results.predictions_of(cell).y) == 48
    assert results.versions == {"migxai": "0.1.0"}


def test_permutations_belong_to_their_cell(folder):
    row = {"comparison": COMPARISON, "indicator": "reho", "model": "svm", "level": "subject", "metric": "accuracy"}
    numbers = {"observed": 0.7, "p": 0.04, "permutations": 99, "null_mean": 0.5, "null_95th": 0.6}
    write_tsv(folder.file("permutations.tsv"), pd.DataFrame([{**row, **numbers}]))
    cells = {cell.model: cell for cell in read_results(folder).scored_models}
    assert cells["svm"].permuted["accuracy"].p == 0.04
    assert not cells["googlenet"].permuted


def test_a_description_alone_is_enough(folder):
    for path in folder.root.glob("*.tsv"):
        path.unlink()
    folder.file("metrics.json").unlink()
    found = read_results(folder)
    assert (found.scored_models, found.predictions, found.people.empty, found.class_counts(COMPARISON)) == (
        (),
        (),
        True,
        {},
    )
    folder.description.unlink()
    with pytest.raises(InputError, match="no results of the group level"):
        read_results(folder)


def test_predictions_that_do_not_fit_are_refused(folder):
    text = folder.file("predictions.tsv").read_text()
    folder.file("predictions.tsv").write_text(text.replace("p[HC]", "p[XX]"))
    with pytest.raises(InputError, match=r"no column 'p\[HC\]'"):
        read_results(folder)


def test_reports_are_those_of_the_own_dataset(folder):
    (folder.root.parent / "sub-03.html").write_text("")
    found = read_results(folder)
    assert found.participant_report(f"{DATASET}/sub-03") == "../sub-03.html"
    assert found.participant_report(f"{DATASET}/sub-04") == ""
    assert found.participant_report("another/sub-03") == ""


@pytest.mark.parametrize("place", ["indicators", "description"])
def test_made_up_data_are_known_by_their_makers_name(folder, place):
    assert not read_results(folder).simulated
    if place == "indicators":
        content = json.loads(folder.description.read_text()) | {"Indicators": {"reho": {"Definition": "Simulated map"}}}
        folder.description.write_text(json.dumps(content))
    else:
        path = folder.root.parent / "dataset_description.json"
        path.write_text(json.dumps({"Name": "x", "GeneratedBy": [{"Name": "migxai-demo"}]}))
    assert read_results(folder).simulated


def test_numbers_that_are_none_become_nan(folder):
    table = pd.read_csv(folder.file("metrics.tsv"), sep="\t", dtype=str, keep_default_na=False)
    table.loc[table["metric"] == "accuracy", "low"] = "n/a"
    write_tsv(folder.file("metrics.tsv"), table)
    assert np.isnan(dataclasses.astuple(read_results(folder).scored_models[0].scores["accuracy"])[1])
