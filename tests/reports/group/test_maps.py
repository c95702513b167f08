"""The section of maps and its tables of regions."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from migxai.errors import ImageError, InputError
from migxai.evaluation.results import read_results
from migxai.io import read_tsv, write_tsv
from migxai.reports.figures.drawing import drawing_style
from migxai.reports.group import maps
from migxai.reports.group.explained_maps import in_order, read_explained_maps
from migxai.reports.group.gallery import Gallery, Picture
from migxai.reports.group.maps import MapsSection, check_regions, region_tables
from migxai.reports.group.report import NO_MAPS
from migxai.reports.rendering import render
from tests.reports.group.building import PRECUNEUS, blob, write_map, write_maps


class Names(Gallery):
    """Keeps the names of pictures, which take long to write."""

    def add(self, drawn, name, title, *, inline="svg"):
        self.names.append(name)
        return Picture(name, title, drawn[1], "data:,")


def build(folder):
    gallery = Names(folder.file("figures"))
    with drawing_style():
        section = maps.maps_section(read_results(folder), read_explained_maps(folder), gallery)
    return section, render("group/maps.html.jinja", maps=section), gallery


def test_without_maps_that_is_said(folder):
    section, text, gallery = build(folder)
    assert NO_MAPS in text
    assert (section.groups, section.viewer_data, gallery.names) == ((), "", [])


def test_pictures_of_each_kind_and_misclassified_people_apart(folder):
    write_maps(folder)
    section, text, gallery = build(folder)
    assert gallery.names == [
        "hc-vs-migraine_reho_googlenet_difference_grad-cam_migraine-hc",
        "hc-vs-migraine_reho_googlenet_class",
        "hc-vs-migraine_reho_googlenet_misclassified",
        "hc-vs-migraine_reho_googlenet_agreement",
        "hc-vs-migraine_reho_univariate_t-statistic_migraine-hc",
    ]
    assert "GoogLeNet on ReHo, HC versus migraine" in text
    assert "ReHo itself, without a network, HC versus migraine" in text
    assert text.index("largest t are those of Precuneus_L") < text.index("Regions: Migraine - HC")
    packed = json.loads(section.viewer_data)["maps"]
    assert packed[0]["title"] == "Grad-CAM, difference Migraine - HC (8 people)"
    assert len(packed) == 6


def test_people_come_last_and_those_without_room_are_counted(folder, monkeypatch):
    for number in range(4):
        data = np.random.default_rng(number).uniform(size=blob(PRECUNEUS).shape).astype(np.float32)
        write_map(folder, f"a{number}", data, kind="subject", label=f"site A/sub-{number:02d}")
    write_map(folder, "z", blob(PRECUNEUS), kind="class", label="HC")
    monkeypatch.setattr(maps, "ROOM", 200_000)
    section, text, gallery = build(folder)
    titles = [one["title"] for one in json.loads(section.viewer_data)["maps"]]
    assert titles[0] == "Grad-CAM, mean of HC (8 people)"
    assert 1 < len(titles) < 5
    assert f"room for {len(titles)} maps; {5 - len(titles)} more lie in group/explain" in text
    assert len(gallery.names) == 1


def test_a_damaged_map_stops_the_report_with_its_name(folder):
    one = write_map(folder, "broken", blob(PRECUNEUS), kind="class", label="HC")
    one.path.write_bytes(b"nothing")
    with pytest.raises(ImageError, match=r"broken\.nii\.gz cannot be read"):
        build(folder)


def written(table):
    return render("group/maps.html.jinja", maps=MapsSection(tables=[table]))


@pytest.fixture
def regions(folder):
    write_maps(folder)
    return check_regions(read_tsv(folder.file("regions.tsv")))


def test_rows_are_ranked_linked_and_marked(folder, regions):
    maps = in_order(read_explained_maps(folder))
    (table,), left_out = region_tables(regions, maps)
    assert (table.key, table.contrast, left_out) == (("hc_vs_migraine", "reho", "googlenet"), "Migraine - HC", 0)
    text = written(table)
    assert text.count('<th scope="row">') == len(regions) > 110
    first = re.search(r'data-map="(\d+)" data-at="([^"]+)">(\w+)<', text)
    assert (maps[int(first[1])].kind, first[2], first[3]) == ("difference", "-9,-57,45", "Precuneus_L")
    row = text[text.index("Precuneus_L<") :].split("</tr>")[0]
    assert "<td>yes" in row
    assert "<td>75%" in row
    assert "p, permuted" not in text


def test_a_sentence_names_the_first_and_whether_the_indicator_differs(regions):
    text = region_tables(regions, [])[0][0].sentence
    assert "the largest t are those of Precuneus_L" in text
    assert "2 differ between the groups" in text
    without = region_tables(regions.drop(columns=["p_fdr"]), [])[0][0].sentence
    assert "differ" not in without


def test_without_a_map_there_is_nothing_to_press(regions):
    assert "<button" not in written(region_tables(regions, [])[0][0])


def test_differences_come_first_and_what_has_no_room_is_counted(regions):
    both = pd.concat([regions.assign(contrast="HC"), regions])
    tables, left_out = region_tables(both, [])
    assert ([one.contrast for one in tables], left_out) == (["Migraine - HC", "HC"], 0)
    tables, left_out = region_tables(both, [], room=tables[0].size + 10)
    assert ([one.contrast for one in tables], left_out) == (["Migraine - HC"], 1)


def test_the_size_of_a_table_is_about_what_it_takes(regions):
    table = region_tables(regions, [])[0][0]
    assert table.size == pytest.approx(len(written(table)), rel=0.5)


def test_a_table_without_rows_is_none():
    assert region_tables(check_regions(pd.DataFrame()), []) == ([], 0)


def test_damaged_tables_say_so(folder, regions):
    with pytest.raises(InputError, match=r"regions\.tsv has no column 'peak_x'"):
        check_regions(regions.drop(columns="peak_x"))
    write_tsv(folder.file("regions.tsv"), regions.assign(mean="much"))
    with pytest.raises(InputError, match=r"mean 'much' is no number"):
        check_regions(read_tsv(folder.file("regions.tsv")))
