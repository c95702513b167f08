from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import pytest

from migxai.data import load_atlas
from migxai.reports.group.map_figures import prepare
from migxai.reports.group.viewer import pack_map, pack_scene, script_data
from tests.reports.group.building import PRECUNEUS, blob, write_map


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
