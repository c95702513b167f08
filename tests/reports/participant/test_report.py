"""The report of a participant: complete, self-contained, the same twice, and honest about what is excluded."""

from __future__ import annotations

import dataclasses
import getpass
import re
import socket
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from migxai.config import Config
from migxai.errors import InputError
from migxai.registration.space import Volume
from migxai.reports.figures.drawing import plot_carpet, plot_motion
from migxai.reports.figures.overlays import plot_registration
from migxai.reports.participant.methods import MethodsFacts, methods_text
from migxai.reports.participant.report import (
    ProcessingStep,
    QualityMeasure,
    RegionValues,
    RunSummary,
    find_summaries,
    link_to_group,
    read_summary,
    write_participant_report,
    write_summary,
)

VOID = {"meta", "img", "br", "hr", "link", "input"}


def summary(**changes: object) -> RunSummary:
    base = RunSummary(
        entities={"sub": "01", "task": "rest"},
        usable=True,
        warnings=("Slice timing was skipped: no <SliceTiming> & no order.",),
        inputs={"BOLD": "bids:raw:sub-01/func/sub-01_task-rest_bold.nii.gz"},
        parameters={"Band": "0.01 to 0.08 Hz"},
        numbers={"Volumes": 170, "Mean FD [mm]": 0.1234567, "Largest rotation [degrees]": float("nan")},
        steps=(ProcessingStep("Slice timing", "skipped", "no SliceTiming"), ProcessingStep("Realignment", "done")),
        quality=(
            QualityMeasure("Overlap", 0.95, "", "at least 0.8", True),
            QualityMeasure("Translation", 3.0, "mm", "at most 2", False),
        ),
        regions=(RegionValues("Cuneus_L", 1.0, {"ALFF": 1.25}), RegionValues("Vermis_10", 0.2, {"ALFF": None})),
        software={"migxai": "0.1.0"},
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def make_run(output: Path, run: RunSummary) -> None:
    figures = output / "sub-01" / "figures"
    random = np.random.default_rng(3)
    series = random.normal(size=(90, 40))
    tissues = {"GM": np.arange(90) < 45, "WM": np.arange(90) >= 45}
    motion = random.normal(0, 0.1, (40, 6))
    ball = Volume(np.pad(np.ones((8, 8, 8)), 2), np.diag([6.0, 6.0, 6.0, 1.0]))
    plot_motion(motion, motion[:, 0] ** 2, figures / f"{run.name}_desc-motion_bold.svg", repetition_time=2.0)
    plot_carpet(series, series, tissues, figures / f"{run.name}_desc-carpet_bold.svg", repetition_time=2.0)
    plot_registration(
        ball, ball, ball, figures / f"{run.name}_desc-coregistration_bold.svg", names=("T1w", "EPI"), contour=ball
    )
    write_summary(run, figures)


class Page(HTMLParser):
    """Collects what a browser would fetch or follow, the words for figures, ids, and unbalanced tags."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        if tag == "a":
            self.links.append(given["href"])
        else:
            self.fetched += [given[key] for key in ("src", "href", "xlink:href", "data", "srcset") if key in given]
        self.scripts += tag == "script"
        if tag == "img":
            self.words.append(given["alt"])
        if tag == "figure" and "aria-label" in given:
            self.words.append(given["aria-label"])
        if "id" in given:
            self.ids.append(given["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parse(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text())
    page.close()
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("derivatives")
    make_run(folder, summary())
    return folder


@pytest.fixture(scope="module")
def report(output: Path) -> Path:
    return write_participant_report(output, "sub-01", methods=methods_text(Config(), MethodsFacts("0.1.0")))


def test_nothing_is_fetched(report: Path) -> None:
    page = parse(report)
    assert all(address.startswith(("data:image/", "#")) for address in page.fetched)
    assert all(address.startswith(("#", "https://doi.org/10.")) for address in page.links)
    assert page.scripts == 0
    text = report.read_text()
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []


def test_no_trace_of_the_machine(report: Path, output: Path) -> None:
    text = report.read_text()
    for trace in (str(output), str(output.parent), socket.gethostname(), "/tmp", "/home", "site-packages"):
        assert trace not in text
    if len(getpass.getuser()) > 4:
        assert getpass.getuser() not in text
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", text)


def test_every_figure_has_words(report: Path) -> None:
    page = parse(report)
    assert len(page.words) == 3
    assert all(len(words) > 40 for words in page.words)
    assert "alternate" in " ".join(page.words)


def test_links_within_the_page_lead_somewhere(report: Path) -> None:
    page = parse(report)
    inner = [address[1:] for address in page.links if address.startswith("#")]
    assert inner
    assert set(inner) <= set(page.ids)


def test_order_of_contents(report: Path) -> None:
    text = report.read_text().split("<main>")[1]
    order = [
        "1 of 1 run usable",
        "Warnings",
        "Quality control",
        "Input and settings",
        ">Head motion<",
        ">Carpet plot<",
        ">EPI to T1w<",
        "Vermis_10 20%",
        ">Methods<",
        "<caption>Software</caption>",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert "no &lt;SliceTiming&gt; &amp; no order" in text
    assert "10.2196/72155" in text


def test_the_overlay_flickers_inside_the_page(report: Path) -> None:
    text = report.read_text()
    assert "@keyframes" in text
    assert 'id="migxai-moving-sub-01_task-rest_desc-coregistration_bold"' in text


def test_rebuilt_from_the_derivatives_with_the_same_bytes(report: Path, output: Path) -> None:
    before = report.read_bytes()
    figures = {path: path.read_bytes() for path in output.glob("sub-01/figures/*")}
    report.unlink()
    write_participant_report(output, "01", methods=methods_text(Config(), MethodsFacts("0.1.0")))
    assert report.read_bytes() == before
    assert {path: path.read_bytes() for path in output.glob("sub-01/figures/*")} == figures
    assert sorted(path.name for path in output.iterdir()) == ["sub-01", "sub-01.html"]


def test_the_same_bytes_elsewhere(report: Path, tmp_path: Path) -> None:
    # Entities in the path of the output itself must not be taken for the figures'.
    elsewhere = tmp_path / "sub-99" / "ses-7" / "task-x"
    make_run(elsewhere, summary())
    other = write_participant_report(elsewhere, "01", methods=methods_text(Config(), MethodsFacts("0.1.0")))
    assert other.read_bytes() == report.read_bytes()


def test_several_runs_each_in_a_section_and_an_excluded_one_says_why(tmp_path: Path) -> None:
    reason = "The head moved by 2.6 mm, more than the limit of 2 mm."
    for session in ("a", "b"):
        for run in ("2", "10"):
            entities = {"sub": "01", "ses": session, "task": "rest", "run": run}
            bad = (session, run) == ("b", "2")
            make_run(tmp_path, summary(entities=entities, usable=not bad, exclusion=(reason,) if bad else ()))
    make_run(tmp_path, summary(entities={"sub": "01", "ses": "a", "task": "rest"}))
    path = write_participant_report(tmp_path, "01")
    text = path.read_text()
    page = parse(path)
    assert "4 of 5 runs usable" in text
    assert text.count(f"<li>{reason}</li>") == 2
    sections = re.findall(r'<section id="(sub-01[^"]*)"', text)
    assert sections == [
        "sub-01_ses-a_task-rest",
        "sub-01_ses-a_task-rest_run-2",
        "sub-01_ses-a_task-rest_run-10",
        "sub-01_ses-b_task-rest_run-2",
        "sub-01_ses-b_task-rest_run-10",
    ]
    assert len(page.words) == 15
    assert len(page.ids) == len(set(page.ids))
    assert text.index("<strong>Excluded</strong>") < text.index('<section id="sub-01')


def test_no_socket_is_opened(report: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was connected")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert write_participant_report(output, "01", runs=(summary(),), methods=None).exists()
    write_participant_report(output, "01", methods=methods_text(Config(), MethodsFacts("0.1.0")))


def test_size_of_a_run(report: Path) -> None:
    assert report.stat().st_size < 8_000_000


def test_summary_comes_back_as_it_went(tmp_path: Path) -> None:
    path = write_summary(summary(), tmp_path)
    back = read_summary(path)
    assert back.numbers.pop("Largest rotation [degrees]") is None
    expected = summary()
    del expected.numbers["Largest rotation [degrees]"]
    assert back == expected
    assert path.name == "sub-01_task-rest_desc-summary_bold.json"


def test_summaries_that_cannot_be_read_say_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no summary of a run of sub-01"):
        find_summaries(tmp_path, "01")
    path = tmp_path / "sub-01_task-rest_desc-summary_bold.json"
    path.write_text("{")
    with pytest.raises(InputError, match="is no summary"):
        read_summary(path)
    path.write_text('{"SchemaVersion": 99}')
    with pytest.raises(InputError, match="newer migxai"):
        read_summary(path)
    path.write_text('{"SchemaVersion": 1, "entities": {"sub": "01"}}')
    with pytest.raises(InputError, match="is no summary"):
        read_summary(path)


def test_a_summary_must_be_consistent() -> None:
    with pytest.raises(ValueError, match="reason"):
        summary(usable=False)
    with pytest.raises(ValueError, match="reason"):
        summary(exclusion=("motion",))
    with pytest.raises(ValueError, match="name a run"):
        summary(entities={"task": "rest"})


def test_a_link_leads_to_the_groups_report_where_there_is_one(tmp_path: Path) -> None:
    make_run(tmp_path, summary())
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / "report.html").write_text("")
    path = write_participant_report(tmp_path, "01")
    assert parse(path).links.count("group/report.html") == 1
    before = path.read_bytes()
    link_to_group(path)
    assert path.read_bytes() == before
    path.write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"sub-01\.html cannot be read"):
        link_to_group(path)
