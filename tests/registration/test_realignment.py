from __future__ import annotations

import numpy as np
import pytest

import migxai.registration
from migxai.errors import ImageError
from migxai.registration.realignment import realign
from migxai.registration.space import rigid_matrix


def plain_affine() -> np.ndarray:
    affine = np.diag([3.75, 3.75, 5.0, 1.0])
    affine[:3, 3] = -118, -118, -80
    return affine


def oblique_flipped_affine() -> np.ndarray:
    affine = rigid_matrix(np.array([0, 0, 0, 0.3, 0.1, -0.2])) @ np.diag([-3.75, 3.75, 5.0, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ [31.5, 31.5, 16.0]
    return affine


@pytest.mark.parametrize("affine", [plain_affine(), oblique_flipped_affine()], ids=["plain", "oblique-flipped"])
def test_known_motion_is_found(bench, affine):
    series, truth, points = bench.synthetic_run(6, (64, 64, 33), affine)
    errors = bench.displacement_error(realign(series, affine), truth, points)
    moved = bench.displacement_error(np.tile(np.eye(4), (6, 1, 1)), truth, points)
    assert moved.max() > 0.5
    assert np.sqrt((errors**2).mean()) < 0.06


def test_result_does_not_depend_on_threads_and_first_is_identity(bench):
    affine = plain_affine()
    series, _, _ = bench.synthetic_run(3, (32, 32, 17), affine * [[2, 2, 2, 1]])
    one = realign(series, affine, n_threads=1)
    assert np.array_equal(one, realign(series, affine, n_threads=3))
    assert np.array_equal(one[0], np.eye(4))


def test_the_public_name_stays_a_function():
    assert migxai.registration.realign is realign
    assert callable(migxai.registration.realign)


@pytest.mark.parametrize("shape", [(8, 8, 8), (8, 8, 1, 5)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ImageError, match="shape"):
        realign(np.ones(shape), np.eye(4))


def test_constant_volume_is_named(bench):
    series = np.random.default_rng(0).random((16, 16, 16, 3))
    series[..., 2] = 7.0
    with pytest.raises(ImageError, match="Volume 3 "):
        realign(series, np.diag([3.0, 3.0, 3.0, 1.0]))
