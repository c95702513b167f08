from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from migxai.cohort.grids import common_grid
from migxai.errors import ImageError, InputError

AFFINE = nib.affines.from_matvec(np.diag([-3.0, 3.0, 3.0]), [90, -126, -72])


def save(path: Path, shape: tuple[int, ...] = (6, 7, 5), affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(np.ones(shape, np.float32), affine).to_filename(path)
    return path


def moved(by: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] += by
    return affine


def test_the_grid_of_all_is_returned(tmp_path):
    paths = [save(tmp_path / "a.nii.gz"), save(tmp_path / "b.nii.gz", affine=moved(5e-4)), save(tmp_path / "c.nii")]
    shape, affine = common_grid(paths)
    assert shape == (6, 7, 5)
    np.testing.assert_array_equal(affine, AFFINE)


def test_data_are_not_read(tmp_path):
    path = save(tmp_path / "a.nii", (40, 40, 40))
    path.write_bytes(path.read_bytes()[:400])
    assert common_grid([path])[0] == (40, 40, 40)


def test_different_grids_name_both_files_even_of_the_same_name(tmp_path):
    first = save(tmp_path / "one" / "sub-01" / "func" / "m.nii.gz")
    second = save(tmp_path / "two" / "sub-01" / "func" / "m.nii.gz", (6, 7, 6))
    with pytest.raises(InputError, match=r"one/sub-01/func/m.nii.gz and two/sub-01/func/m.nii.gz have 6x7x5 and 6x7x6"):
        common_grid([first, second])
    third = save(tmp_path / "two" / "sub-01" / "func" / "n.nii.gz", affine=moved(0.5))
    with pytest.raises(InputError, match=r"positions that differ by up to 0.5 mm"):
        common_grid([first, third])


def test_a_small_turn_counts_at_the_far_corner(tmp_path):
    affine = AFFINE.copy()
    affine[1, 1] += 5e-4  # 3 um at the seventh voxel
    with pytest.raises(InputError, match=r"differ by up to 0\.003 mm"):
        common_grid([save(tmp_path / "a.nii.gz"), save(tmp_path / "b.nii.gz", affine=affine)])


def test_what_is_no_map_is_a_sentence(tmp_path):
    with pytest.raises(ImageError, match="4-D with shape 6x7x5x2"):
        common_grid([save(tmp_path / "a.nii.gz", (6, 7, 5, 2))])
    assert common_grid([save(tmp_path / "b.nii.gz", (6, 7, 5, 1))])[0] == (6, 7, 5)
    turn = np.deg2rad(10)
    oblique = AFFINE.copy()
    oblique[:2, :2] = 3 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    with pytest.raises(ImageError, match=r"oblique: its voxel axes are turned by 10\.0 degrees"):
        common_grid([save(tmp_path / "c.nii.gz", affine=oblique)])
    (tmp_path / "d.nii.gz").write_text("nothing")
    with pytest.raises(ImageError, match=r"d.nii.gz cannot be read"):
        common_grid([tmp_path / "d.nii.gz"])
    with pytest.raises(ImageError, match=r"e.nii.gz cannot be read"):
        common_grid([tmp_path / "e.nii.gz"])
    bad = save(tmp_path / "f.nii", affine=AFFINE)
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
