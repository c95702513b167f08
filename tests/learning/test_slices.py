import dataclasses
import json

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from migxai.errors import InputError, UsageError
from migxai.learning.slices import SliceGeometry, cut, from_pixels, plan_slices, scale_intensity, stack, to_pixels

AXES = ("axial", "coronal", "sagittal")
RAS = np.array([[3.0, 0, 0, -96], [0, 3, 0, -132], [0, 0, 3, -78], [0, 0, 0, 1]])
SHAPE = (65, 77, 65)


def _ellipsoid(shape, affine, centre=(0, -18, 8), radii=(70, 88, 70)):
    world = nib.affines.apply_affine(affine, np.stack(np.indices(shape), axis=-1))
    return (((world - centre) / radii) ** 2).sum(axis=-1) <= 1


BRAIN = _ellipsoid(SHAPE, RAS)


def _stored_as(volume, affine, codes):
    """The same image stored in another orientation, by nibabel."""
    image = nib.Nifti1Image(np.asarray(volume, dtype=np.float32), affine)
    change = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(codes)))
    turned = image.as_reoriented(change)
    return np.asarray(turned.dataobj), turned.affine


def _plan(axis="axial", count=30, brain=BRAIN, affine=RAS, **more):
    return plan_slices(brain.shape, affine, brain, axis=axis, count=count, **more)


@pytest.mark.parametrize("axis", AXES)
def test_heights_are_even_distinct_ascending_and_within_the_brain(axis):
    geometry = _plan(axis)
    heights = np.array(geometry.heights_mm)
    assert len(set(geometry.indices)) == 30
    steps = np.diff(heights)
    assert set(np.round(steps)) <= {3.0, 6.0}
    world = {"sagittal": 0, "coronal": 1, "axial": 2}[axis]
    np.testing.assert_allclose(heights, RAS[world, world] * np.array(geometry.indices) + RAS[world, 3])
    assert all(np.take(BRAIN, i, axis=world).any() for i in geometry.indices)
    # As many slices below the first and above the last, give or take one.
    planes = np.flatnonzero(BRAIN.any(axis=tuple({0, 1, 2} - {world})))
    assert abs((geometry.indices[0] - planes[0]) - (planes[-1] - geometry.indices[-1])) <= 1


def test_every_plane_can_be_asked_for_and_one_more_cannot():
    planes = np.flatnonzero(BRAIN.any(axis=(0, 1)))
    assert _plan(count=len(planes)).indices == tuple(planes)
    with pytest.raises(UsageError, match=f"only {len(planes)} planes"):
        _plan(count=len(planes) + 1)
    with pytest.raises(UsageError, match="At least one"):
        _plan(count=0)


def test_range():
    geometry = _plan(count=5, range_mm=(0.0, 24.0))
    assert geometry.heights_mm == (0.0, 6.0, 12.0, 18.0, 24.0)
    assert _plan(count=9, range_mm=(0, 24)).heights_mm == tuple(range(0, 25, 3))
    with pytest.raises(UsageError, match="reaches from"):
        _plan(count=5, range_mm=(200, 300))
    with pytest.raises(UsageError, match="lower one first"):
        _plan(count=5, range_mm=(24, 0))
    with pytest.raises(UsageError, match="wider range"):
        _plan(count=10, range_mm=(0, 24))


def test_input_that_cannot_be_sliced_is_refused():
    oblique = RAS.copy()
    oblique[:3, :3] = RAS[:3, :3] @ nib.eulerangles.euler2mat(0, 0, 0.05)
    with pytest.raises(InputError, match="oblique"):
        _plan(affine=oblique)
    with pytest.raises(UsageError, match="no slice axis 'transverse'"):
        _plan("transverse")
    with pytest.raises(InputError, match="0 voxels"):
        _plan(brain=np.zeros(SHAPE, dtype=bool))
    with pytest.raises(InputError, match="fits no grid"):
        plan_slices((3, 3, 3), RAS, BRAIN, axis="axial", count=1)
    with pytest.raises(InputError, match="too fine"):
        _plan(size=50)
    with pytest.raises(InputError, match="not usable"):
        _plan(affine=np.full((4, 4), np.nan))
    with pytest.raises(InputError, match="does not fit slices planned"):
        cut(np.zeros((3, 3, 3)), _plan())
    with pytest.raises(InputError, match="do not fit slices planned"):
        stack(np.zeros((30, 3, 3)), _plan())


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("codes", ["RAS", "LAS", "LPS", "SAR", "PIL"])
def test_slices_are_the_same_however_the_image_is_stored(axis, codes):
    volume = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    expected = cut(volume, _plan(axis))
    stored, affine = _stored_as(volume, RAS, codes)
    brain, _ = _stored_as(BRAIN, RAS, codes)
    geometry = _plan(axis, brain=brain > 0, affine=affine)
    assert geometry.heights_mm == _plan(axis).heights_mm
    np.testing.assert_array_equal(cut(stored, geometry), expected)
    back = stack(expected, geometry, fill=-1)
    assert np.array_equal(back[back != -1], stored[back != -1])
    assert (back != -1).sum() == expected.size


@pytest.mark.parametrize("codes", ["RAS", "LAS"])
def test_left_stays_left(codes):
    # A blob in the left frontal lobe, high up.
    blob, affine = _stored_as(_ellipsoid(SHAPE, RAS, (-40, 30, 40), (9, 9, 9)), RAS, codes)
    brain, _ = _stored_as(BRAIN, RAS, codes)
    for axis, side in (("axial", "left"), ("coronal", "left"), ("sagittal", "right")):
        geometry = _plan(axis, brain=brain > 0, affine=affine)
        images = to_pixels(cut(blob, geometry), geometry)
        planes, rows, columns = np.nonzero(images > 0.5)
        heights = np.array(geometry.heights_mm)[planes]
        centre = {"axial": 40, "coronal": 30, "sagittal": -40}[axis]
        assert abs(heights.mean() - centre) < 2
        # Frontal and high are at the top of the picture; sagittal pictures face right.
        assert rows.mean() < 100
        assert columns.mean() < 90 if side == "left" else columns.mean() > 130
        back = stack(from_pixels(images, geometry), geometry)
        world = nib.affines.apply_affine(affine, np.argwhere(back > 0.5)).mean(axis=0)
        np.testing.assert_allclose(world, (-40, 30, 40), atol=2)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("edge", [2.0, 3.0, 4.0])
def test_voxel_to_pixel_to_voxel_is_exact_on_a_checkerboard(axis, edge):
    affine = np.diag([edge, edge, edge, 1.0])
    affine[:3, 3] = RAS[:3, 3]
    shape = tuple(int(np.ceil(195 * n / 65 / edge * 1.2)) for n in (65, 77, 65))
    brain = _ellipsoid(shape, affine)
    geometry = plan_slices(shape, affine, brain, axis=axis, count=20)
    board = (np.indices(shape).sum(axis=0) % 2).astype(np.float32)
    planes = cut(board, geometry)
    images = to_pixels(planes, geometry)
    assert images.shape == (20, 224, 224)
    assert images.dtype == np.float32
    back = from_pixels(images, geometry)
    np.testing.assert_array_equal(back, planes)
    volume = stack(back, geometry, fill=np.nan)
    kept = np.isfinite(volume)
    np.testing.assert_array_equal(volume[kept], board[kept])
    # All of the brain in these planes is inside the window.
    world = {"sagittal": 0, "coronal": 1, "axial": 2}[axis]
    in_planes = np.isin(np.indices(shape)[world], geometry.indices)
    assert kept[brain & in_planes].all()


def test_a_brain_fills_the_picture_alike_at_usual_resolutions():
    spans = []
    for edge in (2.0, 3.0, 4.0):
        affine = np.diag([edge, edge, edge, 1.0])
        affine[:3, 3] = RAS[:3, 3]
        shape = tuple(int(n * 3 / edge) for n in SHAPE)
        geometry = plan_slices(shape, affine, _ellipsoid(shape, affine), axis="axial", count=10)
        spans.append(geometry.factor * (max(geometry.planes_shape) - 1) + 1)
    assert min(spans) > 170
    assert max(spans) <= 224


def test_pictures_are_linear_between_voxels_and_centred():
    geometry = SliceGeometry((3, 2, 1), tuple(map(tuple, np.eye(4).tolist())), "axial", (0,), (0.0,), size=12)
    assert geometry.planes_shape == (2, 3)
    assert geometry.factor == 5
    planes = np.array([[[1.0, 2.0, 4.0], [3.0, 0.0, 0.0]]])
    image = to_pixels(planes, geometry)[0]
    np.testing.assert_allclose(image[3], [1, 1.2, 1.4, 1.6, 1.8, 2, 2.4, 2.8, 3.2, 3.6, 4, 0], rtol=1e-6)
    np.testing.assert_allclose(image[3:9, 0], [1, 1.4, 1.8, 2.2, 2.6, 3], rtol=1e-6)
    assert not image[:3].any()
    assert not image[9:].any()


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    axis=st.sampled_from(AXES),
    codes=st.sampled_from(["RAS", "LAS", "LPI", "SRA", "ASL"]),
    data=st.data(),
)
def test_round_trip(shape, axis, codes, data):
    numbers = st.floats(-1e3, 1e3, width=32)
    ras = data.draw(arrays.arrays(np.float32, shape, elements=numbers))
    inside = data.draw(arrays.arrays(bool, shape))
    inside[tuple(n // 2 for n in shape)] = True
    volume, affine = _stored_as(ras, RAS, codes)
    brain = _stored_as(inside, RAS, codes)[0] > 0
    count = data.draw(st.integers(1, int(np.ptp(np.nonzero(inside)[AXES[::-1].index(axis)])) + 1))
    geometry = plan_slices(volume.shape, affine, brain, axis=axis, count=count, size=data.draw(st.integers(9, 40)))
    again = SliceGeometry.from_dict(json.loads(json.dumps(geometry.to_dict())))
    assert again == geometry
    assert again.key() == geometry.key()
    back = stack(from_pixels(to_pixels(cut(volume, geometry), geometry), geometry), geometry, fill=np.nan)
    kept = np.isfinite(back)
    np.testing.assert_array_equal(back[kept], volume[kept])
    np.testing.assert_array_equal(cut(np.nan_to_num(back), geometry), cut(volume, geometry))


def test_key_changes_with_the_content_alone():
    geometry = _plan()
    assert geometry.key() == _plan().key()
    assert hash(geometry) == hash(_plan())
    negative_zero = RAS.copy()
    negative_zero[0, 1] = -0.0
    assert _plan(affine=negative_zero).key() == geometry.key()
    changes = [{"size": 192}, {"window": ()}, {"indices": geometry.indices[::-1]}]
    keys = {dataclasses.replace(geometry, **change).key() for change in changes}
    assert len(keys | {geometry.key()}) == 4


def test_intensity_is_scaled_by_the_subjects_own_covered_voxels():
    rng = np.random.default_rng(1)
    volume = rng.normal(5, 2, (20, 20, 20))
    covered = np.zeros(volume.shape, dtype=bool)
    covered[3:17, 3:17, 3:17] = True
    scaled = scale_intensity(volume, covered)
    assert scaled.dtype == np.float32
    assert not scaled[~covered].any()
    quarter, median, three = np.percentile(volume[covered], (25, 50, 75))
    low, high = median - 2 * (three - quarter), median + 3 * (three - quarter)
    middle = covered & (volume > low) & (volume < high)
    np.testing.assert_allclose(scaled[middle], (volume[middle] - low) / (high - low), atol=1e-6)
    assert scaled.min() == 0
    assert 0.9 < scaled.max() <= 1
    # Neither units nor what lies outside matter, nor one wild voxel.
    wild = 40 * volume + 7
    wild[~covered] = 1e6
    wild[5, 5, 5] = 1e9
    np.testing.assert_allclose(scale_intensity(wild, covered)[6:14], scaled[6:14], atol=2e-2)


def test_a_strong_effect_in_a_small_part_changes_nothing_elsewhere():
    rng = np.random.default_rng(3)
    volume, everywhere = rng.normal(1, 0.2, (20, 20, 20)), np.ones((20, 20, 20), dtype=bool)
    changed = volume.copy()
    changed[:5, :5, :5] += 0.4
    before, after = scale_intensity(volume, everywhere), scale_intensity(changed, everywhere)
    assert np.abs(after - before)[6:].max() < 0.02
    assert np.median((after - before)[:5, :5, :5]) > 0.2


def test_voxels_that_are_no_numbers_count_as_not_covered():
    volume = np.random.default_rng(2).random((6, 6, 6))
    volume[0] = np.nan
    scaled = scale_intensity(volume, np.ones(volume.shape, dtype=bool))
    assert not scaled[0].any()
    assert np.isfinite(scaled).all()


@pytest.mark.parametrize(
    ("volume", "covered", "says"),
    [
        (np.full((4, 4, 4), 3.0), np.ones((4, 4, 4), dtype=bool), "constant"),
        (np.zeros((4, 4, 4)), np.ones((4, 4, 4), dtype=bool), "constant"),
        (np.full((4, 4, 4), np.nan), np.ones((4, 4, 4), dtype=bool), "holds no number"),
        (np.ones((4, 4, 4)), np.zeros((4, 4, 4), dtype=bool), "holds no number"),
        (np.ones((4, 4, 4)), np.ones((4, 4, 3), dtype=bool), "does not fit a mask"),
    ],
)
def test_maps_that_say_nothing_are_refused(volume, covered, says):
    with pytest.raises(InputError, match=says):
        scale_intensity(volume, covered)
