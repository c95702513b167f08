from __future__ import annotations

import re

import pandas as pd
import pytest

from migxai.errors import InputError
from migxai.io import read_tsv, write_tsv
from migxai.reports.group.explained_maps import in_order, read_explained_maps
from migxai.reports.group.maps import MapsSection
from migxai.reports.group.region_tables import check_regions, region_tables
from migxai.reports.rendering import render
from tests.reports.group.building import write_maps


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
