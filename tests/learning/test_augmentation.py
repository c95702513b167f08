import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migxai.errors import UsageError
from migxai.learning.augmentation import Augmentation, apply, draw

torch = pytest.importorskip("torch")
SETTINGS = Augmentation(crop=0.8, rotation=15.0, flip=True)


def _draw(augmentation=SETTINGS, seed=0, subject="ds/sub-01", view=1, slices=6):
    return draw(augmentation, seed=seed, subject=subject, view=view, slices=slices)


def test_view_0_is_the_picture_itself():
    matrices = _draw(view=0)
    np.testing.assert_array_equal(matrices, np.tile(np.eye(2, 3), (6, 1, 1)))
    assert matrices.dtype == np.float32
    images = torch.rand(6, 1, 20, 20)
    assert torch.equal(apply(images, matrices), images)


def test_a_view_is_another_for_each_seed_subject_number_and_slice_and_the_same_again():
    first = _draw()
    np.testing.assert_array_equal(_draw(), first)
    for change in ({"seed": 1}, {"subject": "ds/sub-02"}, {"subject": "other/sub-01"}, {"view": 2}):
        assert not np.isclose(_draw(**change), first).all(axis=(1, 2)).any()
    assert len({matrix.tobytes() for matrix in first}) == 6
    # More slices leave the first ones as they are.
    np.testing.assert_array_equal(_draw(slices=9)[:6], first)


def test_another_process_draws_the_same():
    program = (
        "from migxai.learning.augmentation import Augmentation, draw; import sys;"
        "print(draw(Augmentation(0.8, 15.0, True), seed=0, subject='ds/sub-01', view=1, slices=6).tobytes().hex());"
        "assert 'torch' not in sys.modules"
    )
    environment = os.environ | {"PYTHONHASHSEED": "123"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == _draw().tobytes().hex()


@settings(max_examples=50, deadline=None)
@given(crop=st.floats(0.3, 1.0), rotation=st.floats(0, 180), flip=st.booleans(), view=st.integers(1, 9))
def test_what_is_drawn_stays_within_the_limits(crop, rotation, flip, view):
    matrices = _draw(Augmentation(crop, rotation, flip), view=view, slices=20).astype(np.float64)
    linear, shift = matrices[:, :, :2], matrices[:, :, 2]
    determinant = np.linalg.det(linear)
    share = np.sqrt(np.abs(determinant))
    assert (share >= crop - 1e-6).all()
    assert (share <= 1 + 1e-6).all()
    assert flip or (determinant > 0).all()
    # Without its rotation, the crop lies within the picture.
    assert (np.abs(shift) <= 1 - share[:, None] + 1e-6).all()
    # The second column is not changed by the flip.
    angle = np.rad2deg(np.arctan2(-linear[:, 0, 1], linear[:, 1, 1]))
    assert (np.abs(angle) <= rotation + 1e-4).all()
    np.testing.assert_allclose(
        np.einsum("sij,sik->sjk", linear, linear), share[:, None, None] ** 2 * np.eye(2), atol=1e-6
    )


def test_limits_are_used_evenly():
    matrices = _draw(slices=4000)
    share = np.sqrt(np.abs(np.linalg.det(matrices[:, :, :2])))
    angle = np.rad2deg(np.arctan2(-matrices[:, 0, 1], matrices[:, 1, 1]))
    for values, low, high in ((share, 0.8, 1.0), (angle, -15, 15)):
        counts = np.histogram(values, bins=4, range=(low, high))[0]
        assert counts.sum() == 4000
        assert counts.min() > 900
    mirrored = np.linalg.det(matrices[:, :, :2]) < 0
    assert 0.45 < mirrored.mean() < 0.55


def test_apply_agrees_with_scipy():
    from scipy import ndimage

    rng = np.random.default_rng(0)
    images = ndimage.gaussian_filter(rng.random((6, 40, 40)), (0, 2, 2)).astype(np.float32)
    matrices = _draw()
    made = apply(torch.from_numpy(images)[:, None], matrices)
    assert made.shape == (6, 1, 40, 40)
    # From pixels to -1..1, where pixels' outer edges are at the ends.
    to_unit = np.array([[2 / 40, 0, 1 / 40 - 1], [0, 2 / 40, 1 / 40 - 1], [0, 0, 1]])
    for image, matrix, result in zip(images, matrices, made[:, 0].numpy(), strict=True):
        chain = np.linalg.inv(to_unit) @ np.vstack([matrix, [0, 0, 1]]) @ to_unit
        rows_first = chain[[1, 0, 2]][:, [1, 0, 2]]
        expected = ndimage.affine_transform(
            image, rows_first[:2, :2], rows_first[:2, 2], order=1, mode="grid-constant", cval=0.0
        )
        np.testing.assert_allclose(result, expected, atol=2e-5)


def test_a_flip_alone_mirrors_left_and_right():
    images = torch.rand(50, 1, 16, 16)
    made = apply(images, _draw(Augmentation(1.0, 0.0, True), slices=50))
    kept = np.array([torch.allclose(a, b, atol=1e-4) for a, b in zip(made, images, strict=True)])
    mirrored = np.array([torch.allclose(a, b.flip(-1), atol=1e-4) for a, b in zip(made, images, strict=True)])
    assert (kept ^ mirrored).all()
    assert kept.any()
    assert mirrored.any()


def test_key():
    assert Augmentation().key() == Augmentation(0.9, 10, False).key()
    others = [Augmentation(crop=0.8), Augmentation(rotation=5.0), Augmentation(flip=True)]
    assert len({Augmentation().key(), *(other.key() for other in others)}) == 4


@pytest.mark.parametrize("wrong", [{"crop": 0.0}, {"crop": 1.1}, {"rotation": -1.0}, {"rotation": 200.0}])
def test_impossible_limits_are_refused(wrong):
    with pytest.raises(UsageError):
        Augmentation(**wrong)
