"""The report of the group level: its summary, its methods, and the page, the same twice, alive in a browser."""

from __future__ import annotations

import dataclasses
import getpass
import re
import socket
from html.parser import HTMLParser

import pytest

from migxai.audit.checks import Check
from migxai.audit.headline import assess_results
from migxai.errors import InputError
from migxai.reports.group.explained_maps import ExplainedMap
from migxai.reports.group.gallery import SIMULATED
from migxai.reports.group.report import NO_MAPS, checks_table, methods_section, summary_section, write_report
from migxai.reports.rendering import render
from tests.reports.group.browser import Browser
from tests.reports.group.building import COMPARISON, write_audit

#: One worker draws the report.
pytestmark = pytest.mark.xdist_group("group_report")

VOID = {"meta", "img", "br", "hr", "link", "input"}
SECTIONS = ["summary", "people", "results", "maps", "checks", "methods"]


class Page(HTMLParser):
    """Collects what a browser would fetch or follow, alternative texts, ids, labels and unbalanced tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.pictures: list[dict[str, str]] = []
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        if tag == "a":
            self.links.append(given["href"])
        else:
            self.fetched += [given[key] for key in ("src", "href", "data", "srcset") if key in given]
        if tag in ("img", "canvas"):
            self.pictures.append(given)
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))
        if "id" in given:
            self.ids.append(given["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()


@pytest.fixture(scope="module")
def page(report) -> Page:
    # The cells of the tables of regions are left open, as HTML allows.
    text = re.sub(r"<td>([^<]*)(?=<td>|</tr>)", r"<td>\1</td>", report.read_text())
    return Page(text)


def test_nothing_is_fetched_and_all_links_lead_somewhere(report, page):
    assert page.open == []
    assert all(address.startswith("data:image/") for address in page.fetched)
    assert "@import" not in report.read_text()
    assert len(page.ids) == len(set(page.ids))
    for address in page.links:
        if address.startswith("#"):
            assert address[1:] in page.ids
        elif not address.startswith("https://doi.org/10."):
            assert (report.parent / address).is_file(), address
    assert "../sub-03.html" in page.links


def test_it_can_be_read_without_eyes_or_mouse(page):
    words = [one.get("alt") or one.get("aria-label", "") for one in page.pictures]
    assert len(words) == 5 + 1 + 5 + 5  # of results, people, maps; four panes and a bar of the viewer
    assert all(len(text) > 8 for text in words)
    assert page.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))


def test_sections_follow_each_other_and_all_say_that_the_data_are_made_up(report):
    text = report.read_text()
    places = [text.index(f'<section id="{name}"') for name in SECTIONS]
    assert places == sorted(places)
    parts = text[places[0] :].split("<section ")[1:]
    assert all(SIMULATED in part for part in parts)
    assert SIMULATED in text[: text.index("</title>")]


def test_a_method_that_failed_its_check_is_said_and_stamped(report):
    text = report.read_text()
    summary = text[text.index('<section id="summary"') : text.index('<section id="people"')]
    assert "Cascading randomisation (Grad-CAM): 0.912" in summary
    assert "randomising the network hardly changes the map" in summary
    assert text.count("NOT TO BE TRUSTED. randomising the network") == 5


def test_no_trace_of_the_machine(report):
    text = report.read_text()
    # Short names are found in any encoded picture.
    names = [name for name in (socket.gethostname(), getpass.getuser()) if len(name) > 6]
    for trace in (str(report.parent), "/tmp/", "/home/", "site-packages", *names):
        assert trace not in text
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", text)
    assert report.stat().st_size < 15e6


def test_participants_reports_link_back_once(report):
    other = report.parent.parent / "sub-03.html"
    assert other.read_text().count('<a href="group/report.html">') == 1


def test_without_maps_and_audit_it_is_whole_and_the_same_twice(folder):
    path = write_report(folder)
    before = path.read_bytes()
    figures = {one.name: one.read_bytes() for one in folder.file("figures").iterdir()}
    assert write_report(folder).read_bytes() == before
    assert {one.name: one.read_bytes() for one in folder.file("figures").iterdir()} == figures
    text = before.decode()
    assert text.count("No maps were made") == 2
    assert "viewer-data" not in text
    assert SIMULATED not in text
    assert all(f'<section id="{name}"' in text for name in SECTIONS)


def test_a_description_alone_makes_a_report_that_says_what_is_missing(folder):
    for path in folder.root.glob("*"):
        if path != folder.description:
            path.unlink()
    text = write_report(folder).read_text()
    for words in ("no result", "no table of the cohort", "there is no result to show", "No maps were made"):
        assert words in text


def test_a_damaged_audit_is_refused(folder):
    write_audit(folder, {"name": "a"})
    with pytest.raises(InputError, match=r"audit\.json holds a check without name or passed"):
        write_report(folder)
    folder.file("audit.json").write_text("{")
    with pytest.raises(InputError, match=r"audit\.json is not valid JSON"):
        write_report(folder)


READY = """new Promise((done) => {
  const look = () => Number(document.getElementById("viewer-panes").dataset.drawn) ? done() : setTimeout(look, 20);
  look();
})"""
LOOK = """(async (name) => {
  for (let frame = 0; frame < 3; frame += 1) await new Promise((next) => requestAnimationFrame(next));
  const canvas = document.getElementById(name);
  return canvas.toDataURL();
})"""
PRESS = "document.getElementById({!r}).dispatchEvent(new KeyboardEvent('keydown', {{key: {!r}}}))"


def test_in_a_browser_nothing_is_asked_for_nothing_fails_and_the_viewer_turns(report, tmp_path):
    with Browser(tmp_path / "profile") as browser:
        browser.open(report)
        browser.run(READY)

        def moved(name: str, script: str) -> bool:
            before = browser.run(f"{LOOK}({name!r})")
            browser.run(script)
            return browser.run(f"{LOOK}({name!r})") != before

        assert moved("viewer-brain", PRESS.format("viewer-brain", "ArrowRight"))
        assert moved("viewer-brain", "document.getElementById('viewer-turn').click()")
        browser.run("document.getElementById('viewer-turn').click()")
        assert moved("viewer-axial", PRESS.format("viewer-axial", "PageUp"))
        assert not moved("viewer-axial", "0")
        assert moved("viewer-axial", "[...document.querySelectorAll('button.jump')].at(-1).click()")
        browser.run("document.querySelector('button.jump').click()")
        browser.run(f"{LOOK}('viewer-axial')")
        assert browser.run("document.getElementById('viewer-readout').textContent") == "-9, -57, 45 mm, Precuneus_L: 1"
        assert "hardly changes" in browser.run("document.getElementById('viewer-warning').textContent")
        regions = "document.querySelectorAll('table.numbers-right')[0]"
        browser.run(f"{regions}.querySelector('thead button').click()")
        assert browser.run(f"{regions}.tBodies[0].rows[0].cells[0].textContent") == "Amygdala_L"
        browser.open(report, width=390)
        browser.run(READY)
        assert browser.run("document.documentElement.scrollWidth") <= 390
        assert browser.errors == []
        assert [address for address in browser.requests if not address.startswith("data:")] == [report.as_uri()] * 2


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


def written(results, *maps):
    return render("group/methods.html.jinja", methods=methods_section(results, maps))


def test_the_text_says_what_was_done_and_no_more(results):
    text = written(results)
    assert "after Li et al. (2025)" in text
    assert "Of 25 people in 1 dataset, 24 were analysed and 1 left out." in text
    assert "GoogLeNet (Szegedy et al., 2015)" in text
    assert "SVM (Cortes &amp; Vapnik, 1995) read the maps&#39; means over the regions of AAL" in text
    assert "saw 30 axial slices of each map, scaled" in text
    assert "random weights" in text
    assert "standardised by batch while it learned (He et al., 2022)" in text
    for absent in ("ResNet", "permuted", "ImageNet", "Selvaraju", "[@", "None"):
        assert absent not in text.split("<h3>Said")[0], absent
    assert "This is not a diagnostic device." in text
    assert "A message &lt;of&gt; the run." in text


def test_what_is_cited_is_listed_once(results):
    one = ExplainedMap(results.folder.root, "c", "reho", "googlenet", "Grad-CAM", "class", "HC")
    options = {**results.description["Options"], "permutations": 99, "weights": "imagenet"}
    changed = dataclasses.replace(results, description={**results.description, "Options": options})
    text = written(changed, one)
    listed = re.findall(r'href="https://doi.org/([^"]+)"', text)
    assert len(listed) == len(set(listed)) == 10
    for words in (
        "repeated 99 times with labels permuted",
        "ImageNet (Deng et al., 2009)",
        "Grad-CAM (Selvaraju et al., 2017)",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("leave-one-out", "Each person was tested by models trained on all others"),
        ("leave-one-site-out", "Each site was tested"),
        ("kfold", "People were divided into 2 folds"),
    ],
)
def test_the_cross_validation_is_named(results, scheme, words):
    changed = dataclasses.replace(results, description={**results.description, "CrossValidation": scheme})
    assert words in written(changed)
