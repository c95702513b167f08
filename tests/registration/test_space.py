from __future__ import annotations

import numpy as np
import pytest
import SimpleITK

from migxai.errors import ImageError
from migxai.registration.space import (
    Affine,
    Chain,
    Field,
    as_field,
    load_transform,
    map_points,
    rigid_matrix,
    save_transform,
)

AFFINE = Affine(rigid_matrix(np.array([3.0, -2.0, 5.0, 0.1, -0.2, 0.3])) @ np.diag([1.1, 0.9, 1.0, 1.0]))


def wavy_field() -> Field:
    grid = np.diag([-4.0, 4.0, 5.0, 1.0])
    grid[:3, 3] = 40, -30, -20
    rng = np.random.default_rng(0)
    return Field(rng.normal(0, 2, (20, 16, 12, 3)), rigid_matrix(np.array([0, 0, 0, 0.2, 0.1, 0.0])) @ grid)


def inner_points(field: Field) -> np.ndarray:
    indices = np.random.default_rng(1).uniform(1, 10, (50, 3))
    return indices @ field.affine[:3, :3].T + field.affine[:3, 3]


def itk_maps(path, points):
    transform = (
        SimpleITK.ReadTransform(str(path))
        if path.suffix == ".txt"
        else SimpleITK.DisplacementFieldTransform(
            SimpleITK.Cast(SimpleITK.ReadImage(str(path)), SimpleITK.sitkVectorFloat64)
        )
    )
    flip = np.array([-1, -1, 1])
    return np.array([transform.TransformPoint((point * flip).tolist()) for point in points]) * flip


@pytest.mark.parametrize(("step", "name"), [(AFFINE, "a.txt"), (wavy_field(), "f.nii.gz")], ids=["affine", "field"])
def test_itk_reads_the_file_as_we_mean_it(tmp_path, step, name):
    points = inner_points(wavy_field())
    chain = Chain((step,))
    save_transform(chain, tmp_path / name)
    assert np.allclose(itk_maps(tmp_path / name, points), map_points(chain, points), atol=1e-3)
    assert np.allclose(map_points(load_transform(tmp_path / name), points), map_points(chain, points), atol=1e-4)


@pytest.mark.parametrize(("step", "name"), [(AFFINE, "a.txt"), (wavy_field(), "f.nii.gz")], ids=["affine", "field"])
def test_files_are_the_same_bytes_wherever_written(tmp_path, step, name):
    other = tmp_path / "elsewhere"
    other.mkdir()
    save_transform(Chain((step,)), tmp_path / name)
    save_transform(Chain((step,)), other / ("other_" + name))
    first = (tmp_path / name).read_bytes()
    assert first == (other / ("other_" + name)).read_bytes()
    assert str(tmp_path).encode() not in first


def test_chain_goes_through_its_steps_in_order():
    field, points = wavy_field(), inner_points(wavy_field())
    by_hand = AFFINE.map_points(field.map_points(points))
    assert np.array_equal(Chain((field,)).then(AFFINE).map_points(points), by_hand)


def test_composed_field_equals_the_chain_at_voxels():
    field = wavy_field()
    chain = Chain((field, AFFINE))
    composed = as_field(chain, field.affine, (20, 16, 12))
    voxels = np.array([[3, 4, 5], [0, 0, 0], [19, 15, 11]]) @ field.affine[:3, :3].T + field.affine[:3, 3]
    assert np.allclose(composed.map_points(voxels), chain.map_points(voxels), atol=1e-4)


def test_affine_inverse_and_immutability():
    points = np.random.default_rng(2).normal(0, 50, (20, 3))
    assert np.allclose(AFFINE.inverse().map_points(AFFINE.map_points(points)), points)
    with pytest.raises(ValueError, match="read-only"):
        AFFINE.matrix[0, 0] = 2.0


def test_files_that_are_no_transform_are_refused(tmp_path):
    (tmp_path / "x.txt").write_text("hello: 1\n")
    with pytest.raises(ImageError, match=r"x\.txt"):
        load_transform(tmp_path / "x.txt")
    with pytest.raises(ValueError, match="compose"):
        save_transform(Chain((AFFINE, wavy_field())), tmp_path / "y.nii.gz")
