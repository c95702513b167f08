from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migxai.bids.names import ENTITY_ORDER, bids_uri, derivative_name, derivative_path, parse_name, run_entities

LABEL = st.text("0123456789abcdefgXYZ", min_size=1, max_size=6)
ENTITIES = st.dictionaries(st.sampled_from(ENTITY_ORDER), LABEL, min_size=1)


@given(ENTITIES, LABEL, st.sampled_from([".nii.gz", ".nii", ".json", ".tsv", ".h5"]))
def test_a_name_taken_apart_gives_what_it_was_built_from(entities, suffix, extension):
    name = derivative_name(entities, suffix, extension)
    parsed = parse_name(name)
    assert (parsed.entities, parsed.suffix, parsed.extension) == (entities, suffix, extension)
    assert derivative_name(parsed.entities, parsed.suffix, parsed.extension) == name


@given(ENTITIES)
def test_entities_stand_in_the_order_of_bids(entities):
    keys = list(parse_name(derivative_name(entities, "bold", ".nii")).entities)
    assert keys == sorted(keys, key=ENTITY_ORDER.index)


def test_a_path_has_the_folders_of_subject_and_session():
    path = derivative_path({"sub": "01", "ses": "a", "task": "rest", "stat": "alff"}, "boldmap", ".json")
    assert str(path) == "sub-01/ses-a/func/sub-01_ses-a_task-rest_stat-alff_boldmap.json"


@pytest.mark.parametrize("entities", [{"sub": "0_1"}, {"sub": ""}, {"sub": "1", "colour": "red"}, {"sub": "a-b"}])
def test_what_cannot_stand_in_a_name_is_refused(entities):
    with pytest.raises(ValueError, match="BIDS"):
        derivative_name(entities, "bold", ".nii.gz")


@pytest.mark.parametrize("name", ["README", "sub-01_sub-02_bold.nii", "sub-01-bold.nii", "sub-01_T1w"])
def test_other_names_are_not_parsed(name):
    assert parse_name(name) is None


def test_run_entities_leave_out_what_was_done_to_a_run():
    assert run_entities({"sub": "1", "space": "X", "run": "01", "desc": "preproc"}) == {"sub": "1", "run": "01"}


def test_a_uri_holds_no_path_of_the_machine(tmp_path):
    assert bids_uri(tmp_path / "sub-01" / "a.nii", tmp_path, "raw") == "bids:raw:sub-01/a.nii"
    assert bids_uri("sub-01/a.nii") == "bids::sub-01/a.nii"
    with pytest.raises(ValueError, match="does not lie"):
        bids_uri("/etc/hosts")
