"""Pictures of maps, and what the viewer gets of them."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import pytest

from migxai.data import load_atlas
from migxai.registration.space import Volume
from migxai.reports.figures.drawing import drawing_style
from migxai.reports.group.map_figures import (
    describe,
    is_upright,
    map_figure,
    pack_map,
    pack_scene,
    prepare,
    resample,
    script_data,
    strips_figure,
)
from tests.reports.group.building import AFFINE, PRECUNEUS, SHAPE, blob, write_map


@pytest.fixture(autouse=True)
def style():
    with drawing_style():
        yield


def make(folder, data, **settings):
    one = write_map(folder, "a", data, **{"kind": "difference", "label": "A - B", **settings})
    return one, prepare(one)


def test_the_peak_of_a_left_sided_blob_is_found_left(folder):
    _, shown = make(folder, blob(PRECUNEUS) - 0.5 * blob((40, 30, 20)))
    assert (tuple(shown.peak[0]), shown.signed) == (PRECUNEUS, True)
    assert shown.peak[1] == pytest.approx(1)
    text = describe(shown)
    assert "above or below zero" in text
    assert "1 at -9, -57, 45 mm (left)" in text


def test_a_tenth_of_what_is_known_is_shown_unless_the_map_says(folder):
    data = blob(PRECUNEUS)
    _, shown = make(folder, data)
    assert (data >= shown.threshold).sum() / (data > 0).sum() == pytest.approx(0.1, abs=0.01)
    assert not shown.signed
    assert make(folder, data, threshold=0.7)[1].threshold == 0.7


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_an_empty_map_is_said_to_be(folder, value):
    one, shown = make(folder, np.full(SHAPE, value, dtype=np.float32))
    assert shown.empty
    assert "zero everywhere" in map_figure(one, shown)[1]


def coloured(image):
    """Columns in which a picture is not grey."""
    spread = image[..., :3].astype(float).max(axis=-1) - image[..., :3].astype(float).min(axis=-1)
    return np.argwhere(spread > 8)


def test_left_is_drawn_left(folder):
    for x in (-30.0, 30.0):
        figure, _ = strips_figure([make(folder, blob((x, -57, 45)))])
        image = np.asarray(figure.axes[0].images[0].get_array())
        tile = image.shape[1] // 10
        middle = coloured(image)[:, 1] % tile / tile
        assert (middle < 0.5).all() if x < 0 else (middle > 0.5).all()
        assert len(middle) > 50


def test_the_glass_brain_shows_a_side_on_its_own_side(folder):
    one, shown = make(folder, blob((-30, -57, 45)))
    figure, _ = map_figure(one, shown)
    panels = {axes.get_title("left"): axes for axes in figure.axes}
    seen = {
        name: (np.asarray(panels[name].images[0].get_array())[..., 3] > 0).sum() for name in ("left", "right", "top")
    }
    assert seen["right"] == 0
    assert min(seen["left"], seen["top"]) > 20
    row, column = np.argwhere(np.asarray(panels["top"].images[0].get_array())[..., 3] > 0).mean(axis=0)
    left, right, bottom, top = panels["top"].images[0].get_extent()
    shape = panels["top"].images[0].get_array().shape
    assert left + (right - left) * (column + 0.5) / shape[1] == pytest.approx(-30, abs=3)
    assert bottom + (top - bottom) * (row + 0.5) / shape[0] == pytest.approx(-57, abs=3)


def test_what_failed_its_check_is_stamped(folder):
    one, shown = make(folder, blob(PRECUNEUS), warning="it fails the edge test")
    for figure, words in (map_figure(one, shown), strips_figure([(one, shown)])):
        assert any("NOT TO BE TRUSTED" in text.get_text() for axes in figure.axes for text in axes.texts)
        assert words.endswith("NOT TO BE TRUSTED. it fails the edge test")
    figure, words = map_figure(*make(folder, blob(PRECUNEUS)))
    assert not any("TRUSTED" in text.get_text() for axes in figure.axes for text in axes.texts)
    assert "TRUSTED" not in words


@pytest.mark.parametrize(("threshold", "words"), [(None, "No voxel is significant."), (0.9, "shown is significant.")])
def test_a_test_says_whether_anything_is_significant(folder, threshold, words):
    assert map_figure(*make(folder, blob(PRECUNEUS), kind="univariate", threshold=threshold))[1].endswith(words)


def test_resampling_keeps_places():
    turned = Volume(blob(PRECUNEUS), AFFINE)
    assert not is_upright(turned)
    moved = resample(turned, 2.0, order=1)
    assert is_upright(moved)
    place = np.unravel_index(np.asarray(moved.data).argmax(), moved.shape)
    assert np.abs(moved.affine[:3, :3] @ place + moved.affine[:3, 3] - PRECUNEUS).max() <= 1


def unpack(volume):
    values = np.frombuffer(zlib.decompress(base64.b64decode(volume["bytes"])), dtype=np.uint8)
    return values.reshape(volume["shape"], order="F")


def at(volume, mm):
    place = np.round((np.asarray(mm) - volume["origin"]) / volume["step"]).astype(int)
    return unpack(volume)[tuple(place)]


@pytest.fixture(scope="module")
def scene():
    return pack_scene("AAL")


def test_a_map_comes_back_within_a_step(folder):
    one = write_map(folder, "a", blob(PRECUNEUS) - 0.5 * blob((40, 30, 20)), kind="difference", label="A - B", unit="u")
    packed = pack_map(one, prepare(one), "heading")
    values = np.where(unpack(packed["volume"]) == 0, 0, unpack(packed["volume"]).astype(int) - 128) * packed["scale"]
    place = np.unravel_index(values.argmax(), values.shape)
    assert tuple(np.multiply(place, packed["volume"]["step"]) + packed["volume"]["origin"]) == PRECUNEUS
    assert values.max() == pytest.approx(1, abs=packed["scale"])
    assert (int(at(packed["volume"], (39, 30, 21))) - 128) * packed["scale"] == pytest.approx(-0.5, abs=0.02)
    assert (packed["peak"], packed["signed"], packed["unit"]) == ([-9, -57, 45], True, "u")
    assert len(packed["volume"]["bytes"]) < 60_000


def test_an_empty_map_can_be_packed(folder):
    one = write_map(folder, "a", 0 * blob(PRECUNEUS), kind="class", label="HC")
    packed = pack_map(one, prepare(one), "")
    assert not unpack(packed["volume"]).any()
    assert packed["limit"] == 1


def test_regions_lie_where_the_atlas_has_them(scene):
    atlas = load_atlas()
    label = at(scene["labels"], PRECUNEUS)
    assert scene["regions"][str(label)] == "Precuneus_L"
    assert len(scene["regions"]) == len(atlas.names)
    assert pack_scene("own atlas")["labels"] is None


def test_the_template_is_bright_inside_and_black_outside(scene):
    assert at(scene["template"], (-20, -20, 25)) > 100
    assert unpack(scene["template"])[0].max() == 0


def test_the_surface_faces_outwards(scene):
    raw = {
        name: np.frombuffer(zlib.decompress(base64.b64decode(scene["surface"][name])), dtype=np.int8).reshape(
            -1, 3, order="F"
        )
        for name in ("points", "normals")
    }
    top = raw["points"][:, 2] > 65
    assert raw["normals"][top, 2].mean() > 60
    assert len(raw["points"]) == scene["surface"]["count"]


def test_the_data_cannot_end_the_script_element(scene):
    text = script_data(scene, [{"title": "</script><b>"}])
    assert "<" not in text
    assert json.loads(text)["maps"][0]["title"] == "</script><b>"
