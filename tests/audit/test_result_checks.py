from __future__ import annotations

import dataclasses

import pytest

from migxai.audit.runner import check_results, checks_of_audit
from migxai.errors import InputError


def checks(results):
    return {one.name: one for one in check_results(results)}


def test_an_audit_is_read():
    found = checks_of_audit({"checks": [{"name": "a", "passed": None, "value": 0.12345, "of": "x"}], "other": 1})
    assert (found[0].name, found[0].value, found[0].passed, found[0].limit) == ("a", "0.123", None, "")
    assert checks_of_audit({}) == []


@pytest.mark.parametrize(
    ("audit", "words"),
    [
        ({"checks": {"a": True}}, "checks is no list"),
        ({"checks": None}, "checks is no list"),
        ({"checks": ["a"]}, "without name or passed"),
        ({"checks": [{"name": "a"}]}, "without name or passed"),
        ({"checks": [{"name": "a", "passed": "yes"}]}, "passed of 'a' is neither true, false nor null"),
    ],
)
def test_an_audit_that_is_none_is_refused(audit, words):
    with pytest.raises(InputError, match=words):
        checks_of_audit(audit)


def test_whole_and_consistent_results_pass(results):
    found = checks(results)
    assert found["Every part of the run is there"].passed
    assert found["Scores fit together"].passed
    assert found["Every class is in every test fold"].value == "6 in the smallest"
    assert "points" in found["The best result is more than nuisance variables give"].value


def test_missing_parts_contradictions_and_unfinished_runs_fail(results):
    broken = {**results.description, "State": "failed", "Failures": [f"part {n}." for n in range(5)]}
    document = {"units": [{"consistency": ["F1 is impossible."]}]}
    found = checks(dataclasses.replace(results, description=broken, document=document))
    part = found["Every part of the run is there"]
    assert (part.passed, part.value, part.detail) == (False, "5 parts missing", "part 0. part 1. part 2. And 2 more.")
    assert (found["Scores fit together"].passed, found["Scores fit together"].detail) == (False, "F1 is impossible.")
    running = dataclasses.replace(results, description={**results.description, "State": "running"})
    assert checks(running)["Every part of the run is there"].detail == "The run has not ended."


def test_what_was_not_compared_is_not_judged(results):
    tables = {**results.tables, "model_comparisons.tsv": results.tables["model_comparisons.tsv"].iloc[:0]}
    found = checks(dataclasses.replace(results, tables=tables))
    assert found["The best result is more than nuisance variables give"].passed is None
