from __future__ import annotations

import json

import numpy as np
import pytest

from migxai.errors import ImageError
from migxai.evaluation.results import read_results
from migxai.reports.figures.drawing import drawing_style
from migxai.reports.group import maps
from migxai.reports.group.explained_maps import read_explained_maps
from migxai.reports.group.gallery import Gallery, Picture
from migxai.reports.group.summary import NO_MAPS
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
