from __future__ import annotations

import json

import numpy as np
import pytest

from migxai.errors import ImageError, InputError
from migxai.reports.group.explained_maps import KINDS, ExplainedMap, in_order, read_explained_maps
from tests.reports.group.building import AFFINE, PRECUNEUS, blob, write_map, write_maps


def test_maps_come_back_as_they_were_written(folder):
    write_maps(folder)
    found = read_explained_maps(folder)
    assert {one.kind for one in found} == set(KINDS) - {"subject"}
    again = write_map(folder, "difference", blob(PRECUNEUS), kind="difference", label="A - B", threshold=0.25, unit="u")
    read = next(one for one in read_explained_maps(folder) if one.kind == "difference")
    assert {name: getattr(read, name) for name in ExplainedMap.__dataclass_fields__} == {
        name: getattr(again, name) for name in ExplainedMap.__dataclass_fields__
    }


def test_a_map_without_a_model_keeps_its_keys(folder):
    one = ExplainedMap(folder.file("explain") / "a.nii.gz", "c", "reho", "", "t statistic", "univariate", "A - B")
    assert set(one.sidecar()) == {"Comparison", "Indicator", "Model", "Method", "Kind", "Label", "People", "Simulated"}


def test_titles_say_what_is_shown(folder):
    texts = {
        kind: ExplainedMap(folder.root, "c", "reho", "svm", "CAM", kind, "HC", people=1, predicted="MWA").title
        for kind in KINDS
    }
    assert texts["class"] == "CAM, mean of HC (1 person)"
    assert texts["misclassified"] == "CAM, HC taken for MWA (1 person)"
    assert len(set(texts.values())) == len(KINDS)


def test_axes_are_turned_without_a_change_of_values(folder):
    data = blob(PRECUNEUS)
    volume = write_map(folder, "a", data, kind="class", label="HC").read()
    assert (np.diag(volume.affine)[:3] > 0).all()
    np.testing.assert_array_equal(volume.data, data[::-1])
    place = np.unravel_index(volume.data.argmax(), volume.data.shape)
    assert tuple(volume.affine[:3, :3] @ place + volume.affine[:3, 3]) == PRECUNEUS
    assert AFFINE[0, 0] < 0


def test_images_of_others_are_passed_over(folder):
    write_map(folder, "a", blob(PRECUNEUS), kind="class", label="HC")
    (folder.file("explain") / "a.json").unlink()
    (folder.file("explain") / "b.nii.gz").write_bytes(b"")
    (folder.file("explain") / "b.json").write_text('{"Something": 1}')
    assert read_explained_maps(folder) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Method": None, "Label": None}, r"explain/a\.json lacks Method, Label; remove the map"),
        ({"Kind": "guess"}, "names a Kind 'guess' that does not exist"),
        ({"Threshold": "high"}, "its Threshold 'high' is no number"),
        ({"Warning": 3}, "its Warning 3 is no text"),
    ],
)
def test_sidecars_that_cannot_be_used_say_why(folder, change, words):
    one = write_map(folder, "a", blob(PRECUNEUS), kind="class", label="HC")
    content = {key: value for key, value in {**one.sidecar(), **change}.items() if value is not None}
    (folder.file("explain") / "a.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=words):
        read_explained_maps(folder)


def test_a_damaged_image_says_so(folder):
    one = write_map(folder, "a", blob(PRECUNEUS), kind="class", label="HC")
    one.path.write_bytes(one.path.read_bytes()[:2000])
    with pytest.raises(ImageError, match=r"The map a\.nii\.gz cannot be read"):
        one.read()


def test_kinds_have_an_order(folder):
    maps = [ExplainedMap(folder.root, "c", "i", "m", "CAM", kind, "HC") for kind in reversed(KINDS)]
    assert [one.kind for one in in_order(maps)] == list(KINDS)
