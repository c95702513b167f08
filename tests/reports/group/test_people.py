from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from migxai.evaluation.results import Results, read_results
from migxai.reports.figures.drawing import drawing_style
from migxai.reports.group.gallery import Gallery
from migxai.reports.group.people import flow_figure, people_section, reasons
from migxai.reports.rendering import render


@pytest.fixture(autouse=True)
def style():
    with drawing_style():
        yield


def written(results: Results, figures: Path) -> str:
    return render("group/people.html.jinja", people=people_section(results, Gallery(figures)))


def test_people_are_listed_with_their_reports(folder):
    (folder.root.parent / "sub-03.html").write_text("")
    text = written(read_results(folder), folder.file("figures"))
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
    text = written(changed, tmp_path)
    assert "beside it the paper" in text
    assert "HC, paper" in text


def test_without_tables_that_is_said(results, tmp_path):
    empty = dataclasses.replace(results, tables={name: table.iloc[:0] for name, table in results.tables.items()})
    text = written(empty, tmp_path)
    assert "no table of the cohort" in text
    assert "<table" not in text


def test_the_flow_counts_people_and_their_reasons(results):
    figure, words = flow_figure(results)
    assert "25 found, 1 left out (1: the head moved by 2.6 mm & more), 24 in the analysis" in words
    drawn = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "25 people in 1 dataset" in drawn
    assert "24: 12 HC, 12 Migraine" in drawn


def test_reasons_that_differ_in_numbers_are_one(results):
    rows = [("no", "moved by 2.6 mm"), ("no", "no map"), ("no", "moved by 10 mm"), ("yes", "n/a")]
    people = pd.DataFrame(rows, columns=["included", "reason"]).assign(dataset="a", participant_id="b")
    changed = dataclasses.replace(results, tables={**results.tables, "cohort.tsv": people})
    assert reasons(changed) == [("moved by 2.6 to 10 mm", 2), ("no map", 1)]
