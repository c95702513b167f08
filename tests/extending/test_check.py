"""A check from outside, in ``audit.json``, in the report and heeded by ``--strict``; and one that fails itself."""

from __future__ import annotations

import json

from tests.e2e.group_runs import copy_maps
from tests.map_fixtures import map_cohort

__all__ = ["map_cohort"]

QUICK = ("--indicators", "reho", "--comparison", "hc_vs_migraine", "--slices", 2, "--folds", 2, "--trials", 1)
MODEL = ("--models", "svm", "--bootstraps", 20, "--save-models", "none")

FAILING = """
from migxai.audit.checks import CheckEntry
ENTRY = CheckEntry(name="failing", title="All is well", of_results=lambda results: 1 / 0)
"""


def test_a_check_from_help_to_report(install, migxai, map_cohort, tmp_path):
    install("migxai.checks", "people-per-class", "people_per_class")
    install("migxai.checks", "failing", "failing", text=FAILING)
    assert migxai("--help").code == 0
    data, output = copy_maps(map_cohort, tmp_path / "maps"), tmp_path / "out"
    done = migxai(data, output, "group", *QUICK, *MODEL, "--strict")
    assert done.code == 4, done.err
    assert "Every class has enough people: HC versus migraine: 7 of HC" in done.err + done.out

    checks = json.loads((output / "group" / "audit.json").read_text())["checks"]
    people, failed = sorted(checks, key=lambda one: one["name"], reverse=True)
    assert (people["passed"], people["number"], people["limit"]) == (False, 7, "at least 20")
    assert people["extension"] == "migxai-people-per-class 1.0"
    assert (failed["name"], failed["passed"]) == ("All is well", None)
    assert "ZeroDivisionError" in failed["detail"]

    report = (output / "group" / "report.html").read_text()
    assert "Every class has enough people" in report
    assert "migxai-people-per-class 1.0" in report
