from __future__ import annotations

import dataclasses

import pytest

from migxai.audit.headline import AssessedResult, assess_results, chance_level, verdict
from migxai.evaluation.results import PermutationScore, Score, ScoredModel, read_results
from tests.reports.group.building import COMPARISON, make_group


def score(value, low, high):
    return Score(value, low, high, 0.01)


def with_cells(results, *cells):
    copy = dataclasses.replace(results)
    copy.__dict__["scored_models"] = cells
    return copy


def cell(model, value, low, high, p=None):
    permuted = {} if p is None else {"balanced_accuracy": PermutationScore(value, p, 99, 0.5, 0.62)}
    return ScoredModel(COMPARISON, "reho", model, 24, 2, {"accuracy": score(value, low, high)}, permuted)


@pytest.mark.parametrize(
    ("low", "high", "p", "standing", "words"),
    [
        (0.6, 0.9, 0.01, "above", "p = 0.010"),
        (0.6, 0.9, 0.3, "unclear", "no evidence that the groups differ"),
        (0.6, 0.9, None, "suggested", "labels must be permuted"),
        (0.4, 0.9, 0.01, "chance", "nothing shows"),
        (0.1, 0.4, None, "below", "no sign of information"),
        (float("nan"), float("nan"), None, "unknown", "nothing more can be said"),
    ],
)
def test_a_result_stands_where_its_interval_and_permutations_put_it(results, low, high, p, standing, words):
    made = with_cells(results, cell("googlenet", 0.75, low, high, p))
    assessed = assess_results(made, COMPARISON)
    assert assessed[0].versus_chance == standing
    text = " ".join(verdict(made, COMPARISON, assessed))
    assert words in text
    assert "of 24 people" in text
    assert "is right for 50.0" in text.replace("\N{NO-BREAK SPACE}", " ")


def test_several_results_are_corrected_and_the_choice_is_said(results):
    made = with_cells(results, cell("googlenet", 0.8, 0.6, 0.9, 0.03), cell("svm", 0.7, 0.6, 0.9, 0.04))
    assessed = assess_results(made, COMPARISON)
    assert [one.cell.model for one in assessed] == ["googlenet", "svm"]
    assert assessed[0].p_holm == pytest.approx(0.06)
    assert assessed[0].versus_chance == "unclear"
    text = " ".join(verdict(made, COMPARISON, assessed))
    assert "best of 2 results" in text
    assert "0.060 after correction" in text


def test_the_baselines_are_no_answer_but_are_told(results):
    made = with_cells(
        results, cell("googlenet", 0.6, 0.4, 0.8), cell("nuisance", 0.7, 0.5, 0.9), cell("majority", 0.55, 0.5, 0.6)
    )
    assessed = assess_results(made, COMPARISON)
    assert [one.cell.model for one in assessed] == ["googlenet"]
    assert chance_level(made, COMPARISON).level == pytest.approx(0.55)
    assert "no less than the maps do" in " ".join(verdict(made, COMPARISON, assessed))


def test_without_results_that_is_what_is_said(results):
    assert verdict(results, COMPARISON, []) == ["No model that looks at brain maps has been scored."]


def test_known_truth_through_files(tmp_path):
    strong = read_results(make_group(tmp_path / "strong", people=60, skill=2.0, models=("svm",)))
    none = read_results(make_group(tmp_path / "none", people=60, skill=0.0, models=("svm",)))
    found: list[AssessedResult] = [assess_results(one, COMPARISON)[0] for one in (strong, none)]
    assert [one.versus_chance for one in found] == ["suggested", "chance"]
    assert found[0].accuracy > 0.9


def test_too_few_permutations_are_said_to_be(results):
    few = PermutationScore(0.8, 0.05, 19, 0.5, 0.62)
    cells = [cell(model, 0.8, 0.6, 0.9) for model in ("googlenet", "svm")]
    made = with_cells(results, *(dataclasses.replace(one, permuted={"balanced_accuracy": few}) for one in cells))
    assessed = assess_results(made, COMPARISON)
    assert assessed[0].versus_chance == "unclear"
    assert "So few permutations cannot show anything for 2 results." in " ".join(verdict(made, COMPARISON, assessed))
