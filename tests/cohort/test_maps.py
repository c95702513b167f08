from __future__ import annotations

import gzip
import warnings

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from migxai.cohort.maps import content_hash, covered, read_map, read_mean_map
from migxai.errors import ImageError

SHAPE = (4, 3, 2)


def save(path, values):
    nib.Nifti1Image(np.asarray(values, dtype=np.float32), np.diag([3.0, 3.0, 3.0, 1.0])).to_filename(path)
    return path


def ramp():
    return np.arange(24, dtype=np.float32).reshape(SHAPE)


def test_a_map_is_read_as_it_is(tmp_path):
    np.testing.assert_array_equal(read_map(save(tmp_path / "a.nii.gz", ramp())), ramp())
    np.testing.assert_array_equal(read_map(save(tmp_path / "b.nii", ramp()[..., None])), ramp())


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.zeros(SHAPE), "nothing but zeros and NaN"),
        (np.full(SHAPE, np.nan), "nothing but zeros and NaN"),
        (np.full(SHAPE, np.inf), "nothing but zeros and NaN"),
        (np.where(ramp() > 5, 2.5, 0), "has the value 2.5 everywhere"),
        (np.stack([ramp(), ramp()], axis=-1), r"has the shape \(4, 3, 2, 2\); a map is a 3-D image"),
        (ramp()[..., 0], r"has the shape \(4, 3\)"),
    ],
)
def test_maps_without_signal_are_named(tmp_path, values, sentence):
    with pytest.raises(ImageError, match=rf"^a\.nii (holds )?{sentence}"):
        read_map(save(tmp_path / "a.nii", values))


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: b"",
        lambda content: content[:20],
        lambda content: content[: len(content) // 2],
        lambda content: content[:-4],
        lambda content: b"not an image" * 40,
        lambda content: gzip.compress(b"short"),
        lambda content: gzip.compress(b"n" * 400),
        lambda content: flipped(content, len(content) // 2),
        lambda content: flipped(content, len(content) - 6),
        lambda content: gzip.compress(gzip.decompress(content)[:-4]),
    ],
)
def test_damaged_files_are_named(tmp_path, harm):
    path = save(tmp_path / "a.nii.gz", np.random.default_rng(0).random(SHAPE))
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(ImageError, match=r"a\.nii\.gz cannot be read"):
        read_map(path)


def test_what_is_covered_is_finite_and_not_the_background():
    np.testing.assert_array_equal(covered(np.array([0, 1, -1, np.nan, np.inf], np.float32)), [0, 1, 1, 0, 0])


numbers = st.floats(-100, 100, width=32).filter(lambda value: value == 0 or abs(value) > 1e-3)


@given(arrays(np.float32, (3, *SHAPE), elements=st.one_of(numbers, st.just(np.float32("nan")))))
def test_runs_are_averaged_where_they_cover(tmp_path_factory, stack):
    for run in stack:
        # Every run needs two values to be a map at all.
        run[0, 0, 0], run[1, 0, 0] = 1, 2
    folder = tmp_path_factory.mktemp("runs")
    paths = [save(folder / f"{number}.nii", run) for number, run in enumerate(stack)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # voxels that no run covers
        inside = np.isfinite(stack) & (stack != 0)
        expected = np.where(inside.any(axis=0), np.nanmean(np.where(inside, stack, np.nan), axis=0), 0)
    np.testing.assert_allclose(read_mean_map(paths), expected, rtol=1e-5, atol=1e-5)
    assert read_mean_map(paths[:1]).dtype == np.float32


def test_a_digest_is_of_contents_in_order_and_not_of_names(tmp_path):
    one, two = save(tmp_path / "a.nii", ramp()), save(tmp_path / "b.nii", ramp() + 1)
    copy = save(tmp_path / "c.nii", ramp())
    assert content_hash([one]) == content_hash([copy])
    assert len({content_hash(paths) for paths in ([one], [two], [one, two], [two, one])}) == 4
    assert len(content_hash([one])) == 16
