from __future__ import annotations

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from migxai.config import Learning
from migxai.data import load_atlas
from migxai.errors import AtlasError, ImageError
from migxai.group.prepare import common_template, nuisance_table, prepare_maps
from migxai.learning.slices import stack

SHAPE = (33, 39, 33)
AFFINE = np.array([[6.0, 0, 0, -96], [0, 6, 0, -132], [0, 0, 6, -78], [0, 0, 0, 1]])
SPACE = "MNI152NLin2009cAsym"


@pytest.fixture(scope="module")
def template():
    return common_template(SHAPE, AFFINE, SPACE, Learning(slices=5))


def save(folder, name, values):
    path = folder / f"{name}.nii.gz"
    nib.Nifti1Image(values.astype(np.float32), AFFINE).to_filename(path)
    return path


@pytest.fixture(scope="module")
def ramp(template):
    """A map whose values tell where they were: x in voxels, plus one."""
    x = np.broadcast_to(np.arange(SHAPE[0], dtype=np.float32)[:, None, None], SHAPE)
    return np.where(template.brain, x + 1, 0)


def test_the_template_is_the_same_for_everybody(template):
    assert template.brain.shape == template.labels.shape == SHAPE
    litres = template.brain.sum() * 216 / 1e6
    assert 1.6 < litres < 2.1, "an adult's brain"
    assert len(template.geometry.indices) == 5
    assert template.geometry.heights_mm == tuple(sorted(template.geometry.heights_mm))
    assert set(np.unique(template.labels)) <= {0, *load_atlas().indices}
    centre = tuple(np.round(np.linalg.inv(AFFINE) @ [0, -15, 10, 1]).astype(int)[:3])
    assert template.brain[centre]


def test_an_atlas_of_another_space_is_refused():
    with pytest.raises(AtlasError):
        common_template(SHAPE, AFFINE, "T1w", Learning())
    far = AFFINE.copy()
    far[:3, 3] += 1000
    with pytest.raises(AtlasError, match="does not overlap the brain on the maps' grid"):
        common_template(SHAPE, far, SPACE, Learning())


def test_planes_are_scaled_within_the_brain_and_regions_are_means(template, ramp, tmp_path):
    prepared = prepare_maps("reho", [[save(tmp_path, "a", ramp)]], template)
    assert prepared.planes.shape == (1, 5, *template.geometry.planes_shape)
    assert prepared.planes.min() == 0
    assert 0.5 < prepared.planes.max() <= 1
    assert prepared.fov.tolist() == [1]
    back = stack(prepared.planes[0], template.geometry)
    lower, median, upper = np.percentile(ramp[template.brain], (25, 50, 75))
    low, high = median - 2 * (upper - lower), median + 3 * (upper - lower)
    wanted = np.clip((ramp - low) / (high - low), 0, 1) * template.brain
    cut = np.zeros(SHAPE, dtype=bool)
    cut[:, :, list(template.geometry.indices)] = True
    shown = cut & (back != 0)
    np.testing.assert_allclose(back[shown], wanted[shown], atol=1e-5)
    for place, index in enumerate(template.atlas.indices):
        if not np.isnan(prepared.regions[0, place]):
            inside = (template.labels == index) & (ramp != 0)
            assert prepared.regions[0, place] == pytest.approx(ramp[inside].mean())


def test_what_lies_outside_the_templates_brain_changes_no_slice(template, ramp, tmp_path):
    """Sites mask their maps in different ways."""
    skull = np.where(template.brain, ramp, 500)
    paths = [[save(tmp_path, "bare", ramp)], [save(tmp_path, "unmasked", skull)]]
    prepared = prepare_maps("reho", paths, template)
    np.testing.assert_array_equal(prepared.planes[0], prepared.planes[1])
    assert prepared.fov.tolist() == [1, 1]
    assert prepared.hashes[0] != prepared.hashes[1]


def test_missing_parts_lower_the_coverage_and_leave_regions_out(template, ramp, tmp_path):
    upper = np.where(np.arange(SHAPE[2]) < 13, 0, ramp)
    prepared = prepare_maps("reho", [[save(tmp_path, "a", ramp)], [save(tmp_path, "b", upper)]], template)
    share = (template.brain & (upper != 0)).sum() / template.brain.sum()
    assert prepared.fov[1] == pytest.approx(share)
    assert np.isnan(prepared.regions[1]).sum() > np.isnan(prepared.regions[0]).sum()
    whole = ~np.isnan(prepared.regions[1])
    np.testing.assert_allclose(prepared.regions[1, whole], prepared.regions[0, whole], rtol=0.1)


def test_an_indicator_of_regions_need_not_cover_more_than_those(template, tmp_path):
    path = [save(tmp_path, "a", np.where(template.brain, template.labels, 0))]
    prepared = prepare_maps("rfcs", [path], template)
    assert prepared.fov.tolist() == [1]
    (share,) = prepare_maps("reho", [path], template).fov
    assert 0.5 < share < 0.95
    known = ~np.isnan(prepared.regions[0])
    np.testing.assert_allclose(prepared.regions[0][known], np.asarray(template.atlas.indices)[known])


def test_several_runs_of_a_person_are_one_row(template, ramp, tmp_path):
    paths = [save(tmp_path, "run-1", ramp), save(tmp_path, "run-2", 3 * ramp)]
    both = prepare_maps("reho", [paths], template)
    mean = prepare_maps("reho", [[save(tmp_path, "mean", 2 * ramp)]], template)
    assert len(both.planes) == 1
    np.testing.assert_allclose(both.planes, mean.planes, atol=1e-5)
    np.testing.assert_allclose(both.regions, mean.regions, rtol=1e-5)


def test_a_map_that_tells_nobody_apart_is_named(template, tmp_path):
    flat = np.where(template.brain, 2.0, 0)
    flat[tuple(np.argwhere(template.brain)[0])] = 3
    with pytest.raises(ImageError, match=r"^odd\.nii\.gz: The map is constant"):
        prepare_maps("reho", [[save(tmp_path, "odd", flat)]], template)
    outside = np.where(template.brain, 0, np.arange(np.prod(SHAPE)).reshape(SHAPE))
    with pytest.raises(ImageError, match=r"^odd\.nii\.gz: The map holds no number inside the brain"):
        prepare_maps("reho", [[save(tmp_path, "odd", outside)]], template)


def test_some_people_can_be_kept(template, ramp, tmp_path):
    paths = [[save(tmp_path, str(factor), factor * ramp**factor)] for factor in (1, 2, 3)]
    prepared = prepare_maps("reho", paths, template)
    kept = prepared.keep(np.array([2, 0]))
    np.testing.assert_array_equal(kept.planes, prepared.planes[[2, 0]])
    np.testing.assert_array_equal(kept.regions, prepared.regions[[2, 0]])
    assert kept.hashes == (prepared.hashes[2], prepared.hashes[0])


def test_nuisance_variables_are_numbers_and_one_column_a_value():
    people = pd.DataFrame(
        {
            "mean_fd": [0.1, None, 0.3],
            "coverage": [1.0, 0.9, 0.8],
            "age": ["30", "n/a", "50"],
            "sex": ["F", "M", None],
            "site": ["A", "B", "B"],
            "group": ["x", "y", "x"],
        }
    )
    values, names = nuisance_table(people)
    assert names == ("mean_fd", "coverage", "age", "sex=F", "sex=M", "site=A", "site=B")
    expected = [[0.1, 1, 30, 1, 0, 1, 0], [np.nan, 0.9, np.nan, 0, 1, 0, 1], [0.3, 0.8, 50, np.nan, np.nan, 0, 1]]
    np.testing.assert_allclose(values, expected)
    values, names = nuisance_table(people[["group"]])
    assert (values.shape, names) == ((3, 0), ())
