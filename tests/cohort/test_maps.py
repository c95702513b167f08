from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from migxai.cohort.maps import common_grid, content_hash, covered, read_map, read_mean_map
from migxai.errors import ImageError, InputError

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


AFFINE = nib.affines.from_matvec(np.diag([-3.0, 3.0, 3.0]), [90, -126, -72])


def save_grid(path: Path, shape: tuple[int, ...] = (6, 7, 5), affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(np.ones(shape, np.float32), affine).to_filename(path)
    return path


def moved(by: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] += by
    return affine


def test_the_grid_of_all_is_returned(tmp_path):
    paths = [
        save_grid(tmp_path / "a.nii.gz"),
        save_grid(tmp_path / "b.nii.gz", affine=moved(5e-4)),
        save_grid(tmp_path / "c.nii"),
    ]
    shape, affine = common_grid(paths)
    assert shape == (6, 7, 5)
    np.testing.assert_array_equal(affine, AFFINE)


def test_data_are_not_read(tmp_path):
    path = save_grid(tmp_path / "a.nii", (40, 40, 40))
    path.write_bytes(path.read_bytes()[:400])
    assert common_grid([path])[0] == (40, 40, 40)


def test_different_grids_name_both_files_even_of_the_same_name(tmp_path):
    first = save_grid(tmp_path / "one" / "sub-01" / "func" / "m.nii.gz")
    second = save_grid(tmp_path / "two" / "sub-01" / "func" / "m.nii.gz", (6, 7, 6))
    with pytest.raises(InputError, match=r"one/sub-01/func/m.nii.gz and two/sub-01/func/m.nii.gz have 6x7x5 and 6x7x6"):
        common_grid([first, second])
    third = save_grid(tmp_path / "two" / "sub-01" / "func" / "n.nii.gz", affine=moved(0.5))
    with pytest.raises(InputError, match=r"positions that differ by up to 0.5 mm"):
        common_grid([first, third])


def test_a_small_turn_counts_at_the_far_corner(tmp_path):
    affine = AFFINE.copy()
    affine[1, 1] += 5e-4  # 3 um at the seventh voxel
    with pytest.raises(InputError, match=r"differ by up to 0\.003 mm"):
        common_grid([save_grid(tmp_path / "a.nii.gz"), save_grid(tmp_path / "b.nii.gz", affine=affine)])


def test_what_is_no_map_is_a_sentence(tmp_path):
    with pytest.raises(ImageError, match="4-D with shape 6x7x5x2"):
        common_grid([save_grid(tmp_path / "a.nii.gz", (6, 7, 5, 2))])
    assert common_grid([save_grid(tmp_path / "b.nii.gz", (6, 7, 5, 1))])[0] == (6, 7, 5)
    turn = np.deg2rad(10)
    oblique = AFFINE.copy()
    oblique[:2, :2] = 3 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    with pytest.raises(ImageError, match=r"oblique: its voxel axes are turned by 10\.0 degrees"):
        common_grid([save_grid(tmp_path / "c.nii.gz", affine=oblique)])
    (tmp_path / "d.nii.gz").write_text("nothing")
    with pytest.raises(ImageError, match=r"d.nii.gz cannot be read"):
        common_grid([tmp_path / "d.nii.gz"])
    with pytest.raises(ImageError, match=r"e.nii.gz cannot be read"):
        common_grid([tmp_path / "e.nii.gz"])
    bad = save_grid(tmp_path / "f.nii", affine=AFFINE)
    image = nib.load(bad)
    image.set_sform(np.diag([0.0, 0, 0, 1]), 1)
    image.header["qform_code"] = 0
    nib.Nifti1Image(np.ones((6, 7, 5), np.float32), None, image.header).to_filename(tmp_path / "g.nii")
    with pytest.raises(ImageError, match="maps nothing"):
        common_grid([tmp_path / "g.nii"])


@pytest.mark.shared
def test_maps_of_another_program_are_on_one_grid(shared_data):
    paths = sorted((shared_data / "abide-reho-3sites").glob("sub-*/func/*.nii.gz"))
    assert common_grid(paths)[0] == (61, 73, 61)
