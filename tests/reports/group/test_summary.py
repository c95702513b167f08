from __future__ import annotations

import dataclasses

from migxai.audit.checks import Check
from migxai.audit.verdict import judge
from migxai.evaluation.results import read_results
from migxai.reports.figures.drawing import drawing_style
from migxai.reports.group.explained_maps import ExplainedMap
from migxai.reports.group.gallery import Gallery
from migxai.reports.group.summary import NO_MAPS, checks_section, people_section, summary_section
from tests.reports.group.building import COMPARISON

CHECKS = [Check("Fine", passed=True), Check("Edge test", of="CAM", value="0.9", passed=False), Check("Not done")]


def test_the_headline_has_number_interval_chance_and_the_checks_verdict(results):
    judged = {COMPARISON: judge(results, COMPARISON)}
    text = summary_section(results, judged, CHECKS, []).replace("\N{NO-BREAK SPACE}", " ")
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
    text = summary_section(results, {COMPARISON: []}, CHECKS[:1], [one, one])
    assert "Some maps must not be trusted" in text
    assert text.count("<li>CAM: it is an edge detector</li>") == 1
    assert "HC versus migraine: no result" in text
    assert "No check failed" in text


def test_checks_that_failed_come_first():
    text = checks_section(CHECKS)
    assert text.index("Edge test") < text.index("Not done") < text.index("Fine")
    assert [text.count(f">{word}<") for word in ("failed", "passed", "not made")] == [1, 1, 1]


def test_people_are_listed_with_their_reports(folder):
    (folder.root.parent / "sub-03.html").write_text("")
    with drawing_style():
        text = people_section(read_results(folder), Gallery(folder.file("figures")))
    assert '<a href="../sub-03.html">sub-03</a>' in text
    assert "1 participant with a report of their own." in text
    assert text.count("../sub-") == 1
    assert "the head moved by 2.6 mm &amp; more" in text
    assert "People by class and site: HC versus migraine" in text
    assert "HC, paper" not in text


def test_the_papers_table_1_stands_beside_groups_of_its_names(results, tmp_path):
    frame = results.tables["table1.tsv"].assign(MWoA="1", MWA="2").rename(columns={"Migraine": "Other"})
    frame = frame.assign(**{"HC, paper": "29.00", "P, paper": ".47"})
    changed = dataclasses.replace(results, tables={**results.tables, "table1.tsv": frame})
    with drawing_style():
        text = people_section(changed, Gallery(tmp_path))
    assert "beside it the paper" in text
    assert "HC, paper" in text


def test_without_tables_that_is_said(results, tmp_path):
    empty = dataclasses.replace(results, tables={name: table.iloc[:0] for name, table in results.tables.items()})
    with drawing_style():
        text = people_section(empty, Gallery(tmp_path))
    assert "no table of the cohort" in text
    assert "<table" not in text
