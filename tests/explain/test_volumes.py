"""Maps of slices back in the brain: where a thing lies must not change, least of all its side."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migxai.errors import InputError
from migxai.explain.volumes import SIZE, ReceptiveFields, SliceSpace, fill_between, to_planes
from migxai.learning.slices import cut, from_pixels, plan_slices, to_pixels

SHAPE = (20, 24, 18)


def affine_of(flips=(1, 1, 1)):
    affine = np.diag([*(3.0 * np.asarray(flips)), 1.0])
    affine[:3, 3] = [-30 * flips[0], -36 * flips[1], -27 * flips[2]]
    return affine


def brain_of():
    x, y, z = np.indices(SHAPE) - (np.array(SHAPE).reshape(3, 1, 1, 1) - 1) / 2
    return (x / 9) ** 2 + (y / 11) ** 2 + (z / 8) ** 2 < 1


def geometry_of(axis="axial", flips=(1, 1, 1), count=6):
    return plan_slices(SHAPE, affine_of(flips), brain_of(), axis=axis, count=count)


@settings(max_examples=12, deadline=None)
@given(
    axis=st.sampled_from(["axial", "coronal", "sagittal"]),
    flips=st.tuples(*[st.sampled_from([1, -1])] * 3),
    count=st.integers(1, 8),
)
def test_a_checkerboard_goes_to_pixels_and_comes_back_exactly(axis, flips, count):
    geometry = geometry_of(axis, flips, count)
    board = (np.indices(SHAPE).sum(axis=0) % 2).astype(np.float32)
    planes = cut(board, geometry)
    assert np.array_equal(from_pixels(to_pixels(planes, geometry), geometry), planes)
    space = SliceSpace(geometry, brain_of())
    row = np.empty(space.inside.sum(), dtype=np.float32)
    row[:] = board[space.inside]
    assert np.array_equal(space.volume(row)[space.inside], board[space.inside])


@pytest.mark.parametrize("axis", ["axial", "coronal"])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1)])
def test_left_stays_left(axis, flips):
    """A map that is hot where a picture shows a left-sided blob is hot on the left of the volume, and only there."""
    affine, geometry = affine_of(flips), geometry_of(axis, flips)
    xs = affine[0, 0] * np.arange(SHAPE[0]) + affine[0, 3]
    blob = np.broadcast_to((xs < -10)[:, None, None], SHAPE).astype(np.float32)
    pictures = to_pixels(cut(blob, geometry), geometry)
    # ReceptiveFields that see the pictures as patches of 16 pixels.
    maps = pictures.reshape(len(pictures), 14, 16, 14, 16).mean(axis=(2, 4))
    space = SliceSpace(geometry, brain_of())
    volume = space.volume(space.rows(maps, ReceptiveFields.even(14)), fill=0.0)
    left, right = volume[xs < -12].sum(), volume[xs > 0].sum()
    assert left > 0
    assert right < 0.02 * left


def test_planes_are_what_drawing_the_whole_picture_would_give():
    rng, geometry = np.random.default_rng(0), geometry_of()
    maps = rng.standard_normal((len(geometry.indices), 7, 7)).astype(np.float32)
    cells = ReceptiveFields(start=22, step=32)
    along = cells.weights(np.arange(SIZE), 7)
    drawn = from_pixels(along @ maps @ along.T, geometry)
    np.testing.assert_allclose(to_planes(maps, cells, geometry), drawn, atol=1e-5)


def test_planes_between_slices_are_filled_linearly():
    geometry = geometry_of(count=3)
    low, high = geometry.indices[:2]
    volume = np.full(SHAPE, np.nan)
    volume[..., low], volume[..., high], volume[..., geometry.indices[2]] = 1.0, 3.0, 5.0
    filled = fill_between(volume, geometry)
    expected = 1.0 + 2.0 * (np.arange(low, high + 1) - low) / (high - low)
    np.testing.assert_allclose(filled[3, 4, low : high + 1], expected)
    assert np.isnan(filled[..., : min(geometry.indices)]).all(), "nothing is made up below the first slice"


def test_a_mask_that_slices_do_not_show_is_refused():
    nothing = np.zeros(SHAPE, dtype=bool)
    with pytest.raises(InputError, match="show nothing of the brain's mask"):
        SliceSpace(geometry_of(), nothing)
