from __future__ import annotations

from migxai.audit.checks import Check
from migxai.audit.verdict import assess_results
from migxai.reports.group.explained_maps import ExplainedMap
from migxai.reports.group.summary import NO_MAPS, checks_table, summary_section
from migxai.reports.rendering import render
from tests.reports.group.building import COMPARISON

CHECKS = [Check("Fine", passed=True), Check("Edge test", of="CAM", value="0.9", passed=False), Check("Not done")]


def test_the_headline_has_number_interval_chance_and_the_checks_verdict(results):
    assessed = {COMPARISON: assess_results(results, COMPARISON)}
    section = summary_section(results, assessed, CHECKS, [])
    text = render("group/summary.html.jinja", summary=section).replace("\N{NO-BREAK SPACE}", " ")
    assert text.index("<h3>HC versus migraine: ") < text.index("of 24 people into the right class (95 % interval")
    assert "Always naming the largest class, HC, is right for 50.0 %" in text
    assert "1 check passed, 1 failed, 1 could not be made." in text
    assert "<li>Edge test (CAM): 0.9</li>" in text
    assert "prints 98.71 % for GoogLeNet on RFCS" in text
    assert NO_MAPS in text
    assert "It is not a diagnostic device" in text
    assert "<img" not in text


def test_maps_that_failed_are_named_at_once(results):
    one = ExplainedMap(
        results.folder.root, COMPARISON, "reho", "svm", "CAM", "class", "HC", warning="it is an edge detector"
    )
    section = summary_section(results, {COMPARISON: []}, CHECKS[:1], [one, one])
    text = render("group/summary.html.jinja", summary=section)
    assert "Some maps must not be trusted" in text
    assert text.count("<li>CAM: it is an edge detector</li>") == 1
    assert "HC versus migraine: no result" in text
    assert "No check failed" in text


def test_checks_that_failed_come_first():
    text = render("group/checks.html.jinja", checks=checks_table(CHECKS))
    assert text.index("Edge test") < text.index("Not done") < text.index("Fine")
    assert [text.count(f">{word}<") for word in ("failed", "passed", "not made")] == [1, 1, 1]
