from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from migxai.errors import ImageError, RegistrationError
from migxai.registration.resample import labels_on_grid, resample_series, resample_to_grid
from migxai.registration.space import Affine, Chain, rigid_matrix

AFFINE = np.diag([3.0, 3.0, 4.0, 1.0])


def series(n: int = 3) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(0).random((12, 11, 10, n)), (1, 1, 1, 0)).astype(np.float32)


def test_identity_returns_the_voxels():
    data, mask = series(), np.ones((12, 11, 10), dtype=bool)
    found, inside = resample_series(data, AFFINE, mask=mask, mask_affine=AFFINE)
    assert np.allclose(found, data.reshape(-1, 3), atol=1e-5)
    assert inside.all()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(-0.05, 0.05), min_size=3, max_size=3), st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_equals_scipy_at_the_composed_positions(angles, shift):
    data = series(1)
    motion = rigid_matrix(np.array([*shift, *angles]))
    chain = Chain((Affine(rigid_matrix(np.array([1.0, 2.0, -1.0, 0.02, 0.0, 0.01]))),))
    mask = np.zeros((12, 11, 10), dtype=bool)
    mask[4:8, 4:8, 4:7] = True
    found, inside = resample_series(data, AFFINE, mask=mask, mask_affine=AFFINE, chain=chain, motion=motion[None])
    world = np.argwhere(mask) @ AFFINE[:3, :3]
    total = np.linalg.inv(AFFINE) @ motion
    voxels = chain.map_points(world) @ total[:3, :3].T + total[:3, 3]
    expected = ndimage.map_coordinates(data[..., 0].astype(float), voxels.T, order=3, mode="mirror")
    assert inside.all()
    assert np.allclose(found[:, 0], expected, atol=1e-4)


def test_threads_do_not_matter_and_motion_is_undone():
    mask = np.ones((12, 11, 10), dtype=bool)
    motion = np.array([rigid_matrix(np.array([t * 1.0, 0, 0, 0, 0, 0.01 * t])) for t in range(3)])
    one = resample_series(series(), AFFINE, mask=mask, mask_affine=AFFINE, motion=motion, n_threads=1)
    two = resample_series(series(), AFFINE, mask=mask, mask_affine=AFFINE, motion=motion, n_threads=2)
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])


def test_outside_the_field_of_view_is_zero_and_said():
    mask = np.ones((12, 11, 10), dtype=bool)
    motion = np.array([np.eye(4), rigid_matrix(np.array([9.0, 0, 0, 0, 0, 0])), np.eye(4)])
    found, inside = resample_series(series(), AFFINE, mask=mask, mask_affine=AFFINE, motion=motion)
    gone = ~inside.reshape(mask.shape)
    assert gone[9:].all()
    assert not gone[:9].any()
    assert (found[~inside, 1] == 0).all()
    assert (found[~inside, 0] != 0).any()


def test_refusals():
    mask = np.ones((2, 2, 2), dtype=bool)
    with pytest.raises(ImageError, match="motion"):
        resample_series(series(), AFFINE, mask=mask, mask_affine=AFFINE, motion=np.eye(4)[None])
    far = AFFINE.copy()
    far[:3, 3] = 500
    with pytest.raises(RegistrationError, match="field of view"):
        resample_series(series(), AFFINE, mask=mask, mask_affine=far)


def test_grid_to_itself_and_flipped():
    image = series(1)[..., 0]
    same = resample_to_grid(image, AFFINE, target_affine=AFFINE, target_shape=image.shape, order=1)
    assert np.allclose(same, image, atol=1e-6)
    flipped = AFFINE @ np.array([[-1, 0, 0, 11], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    turned = resample_to_grid(image, AFFINE, target_affine=flipped, target_shape=image.shape, order=3)
    assert np.allclose(turned, image[::-1], atol=1e-4)


def test_labels_go_by_majority():
    labels = np.zeros((9, 9, 9), dtype=np.int16)
    labels[3:6, 3:6, 3:6] = 7
    labels[4, 4, 4] = 2  # what nearest neighbour would pick
    coarse = np.diag([3.0, 3.0, 3.0, 1.0])
    coarse[:3, 3] = 1.0
    found = labels_on_grid(labels, np.eye(4), (3, 3, 3), coarse)
    expected = np.zeros((3, 3, 3), dtype=np.int32)
    expected[1, 1, 1] = 7
    assert np.array_equal(found, expected)
    assert np.array_equal(labels_on_grid(labels, np.eye(4), (9, 9, 9), np.eye(4)), labels)
