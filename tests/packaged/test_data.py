import nibabel as nib
import numpy as np
import pytest

from migxai.data import MNI_SPACES, check_space, fetch_template, load_atlas, template
from migxai.errors import AtlasError, UsageError


def test_templates_share_one_grid_and_tissues_fill_the_mask():
    images = {name: nib.load(template(name)) for name in ("T1w", "mask", "boldref", "GM", "WM", "CSF")}
    for image in images.values():
        assert image.shape == (97, 115, 97)
        np.testing.assert_array_equal(image.affine, images["T1w"].affine)
    mask = images["mask"].get_fdata() > 0
    total = sum(images[tissue].get_fdata() for tissue in ("GM", "WM", "CSF"))
    assert np.abs(total[mask] - 1).max() < 0.02
    assert 1700 < mask.sum() * 8 / 1000 < 2000


def test_unknown_template_is_a_sentence():
    with pytest.raises(UsageError, match="no packaged template image 'T2w'"):
        template("T2w")


def test_aal_has_116_regions_with_left_on_the_left():
    atlas = load_atlas()
    assert (len(atlas), atlas.name) == (116, "AAL")
    assert list(atlas.table.columns) == ["index", "name", "code"]
    assert set(np.unique(atlas.data)) == {0, *atlas.indices}
    for name, side in (("Cuneus_L", -1), ("Cuneus_R", 1), ("Precuneus_L", -1)):
        voxels = np.argwhere(atlas.data == atlas.indices[atlas.names.index(name)])
        x, y, z = nib.affines.apply_affine(atlas.affine, voxels).mean(axis=0)
        assert side * x > 3
        assert y < -45
        assert z > 10


def test_aal_lies_on_the_template():
    atlas = load_atlas()
    mask = nib.load(template("mask"))
    voxels = nib.affines.apply_affine(
        np.linalg.inv(mask.affine) @ atlas.affine, np.argwhere((atlas.data > 0) & (atlas.data < 91))
    )
    inside = mask.get_fdata()[tuple(np.rint(voxels).astype(int).T)]
    assert inside.mean() > 0.95


@pytest.mark.parametrize("space", sorted(MNI_SPACES))
def test_aal_fits_adult_mni_spaces(space):
    check_space(load_atlas(), space)


@pytest.mark.parametrize(
    "space", ["MNIInfant", "MNIPediatricAsym", "T1w", "fsaverage", "OASIS30ANTs", "mni152nlin6asym"]
)
def test_aal_fits_no_other_space(space):
    with pytest.raises(AtlasError, match=f"AAL fits any adult MNI152 space, not the data's space {space}"):
        check_space(load_atlas(), space)


@pytest.fixture
def own_atlas(tmp_path):
    def write(data, table="index\tname\n1\tfirst\n2\tsecond\n", name="atlas-Mine_dseg.nii.gz"):
        image, labels = tmp_path / name, tmp_path / "labels.tsv"
        nib.save(nib.Nifti1Image(data, np.eye(4)), image)
        labels.write_text(table)
        return image, labels

    return write


def _labels(dtype=np.uint8):
    data = np.zeros((4, 4, 4), dtype=dtype)
    data[1], data[2] = 1, 2
    return data


def test_own_atlas_is_sorted_and_keeps_regions_without_voxels(own_atlas):
    table = "index\tname\tcode\n7\tabsent\tc\n2\tsecond\tb\n1\tfirst\ta\n0\tbackground\t\n"
    atlas = load_atlas(*own_atlas(_labels(np.float32), table))
    assert (atlas.name, atlas.indices, atlas.names, atlas.codes) == (
        "Mine",
        (1, 2, 7),
        ("first", "second", "absent"),
        ("a", "b", "c"),
    )
    check_space(atlas, "anything: the file names no space")


def test_own_atlas_knows_its_space_by_its_name(own_atlas):
    atlas = load_atlas(*own_atlas(_labels(), name="tpl-MNIInfant_atlas-Mine_dseg.nii.gz"))
    check_space(atlas, "MNIInfant")
    with pytest.raises(AtlasError, match="fits MNIInfant"):
        check_space(atlas, "MNI152NLin6Asym")


@pytest.mark.parametrize(
    ("data", "table", "message"),
    [
        (_labels(), "index\tname\n1\tfirst\n", "no row for: 2"),
        (_labels(), "index\tlabel\n1\tfirst\n", "no column 'name'"),
        (_labels(), "index\tname\n1\tfirst\n1\tagain\n", "line 3: the index 1 stands there twice"),
        (_labels(), "index\tname\nx\tfirst\n", "line 2: index 'x' is no whole number"),
        (_labels(), "index\tname\n1\t\n2\tb\n", "line 2: the region 1 has no name"),
        (_labels(), "index\tname\n", "lists no region"),
        (np.zeros((4, 4, 4), np.uint8), "index\tname\n1\tfirst\n", "none of the regions"),
        (np.zeros((4, 4, 4, 3), np.uint8), "index\tname\n1\tfirst\n", "3-D"),
        (_labels(np.float32) / 2, "index\tname\n1\tfirst\n", "no labels"),
        (_labels(np.float32) * np.nan, "index\tname\n1\tfirst\n", "not finite"),
        (-_labels(np.int16), "index\tname\n1\tfirst\n", "no labels"),
    ],
)
def test_broken_atlases_are_refused(own_atlas, data, table, message):
    with pytest.raises(AtlasError, match=message):
        load_atlas(*own_atlas(data, table))


def test_atlas_files_that_cannot_be_read(own_atlas, tmp_path):
    image, labels = own_atlas(_labels())
    with pytest.raises(AtlasError, match="--atlas-labels"):
        load_atlas(image)
    with pytest.raises(AtlasError, match="own image"):
        load_atlas("AAL", labels)
    with pytest.raises(AtlasError, match="cannot be read"):
        load_atlas(image, tmp_path / "absent.tsv")
    with pytest.raises(AtlasError, match="cannot be read"):
        load_atlas(tmp_path / "absent.nii.gz", labels)
    content = image.read_bytes()
    image.write_bytes(content[: len(content) // 2])
    with pytest.raises(AtlasError, match="cannot be read"):
        load_atlas(image, labels)


def test_fetch_template_uses_the_cache_and_never_the_network_unasked(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path))
    folder = tmp_path / "tpl-MNI152NLin6Asym"
    folder.mkdir()
    image = folder / "tpl-MNI152NLin6Asym_res-02_desc-brain_T1w.nii.gz"
    image.touch()
    with pytest.raises(UsageError, match="TEMPLATEFLOW_HOME"):
        fetch_template("MNI152NLin6Asym", desc="brain")
    image.write_bytes(b"x")
    assert fetch_template("MNI152NLin6Asym", desc="brain") == image
    with pytest.raises(UsageError, match="TEMPLATEFLOW_HOME"):
        fetch_template("MNI152NLin6Asym")
