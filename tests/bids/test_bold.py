from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from migxai.bids.bold import clean_bold, load_bold, repetition_time
from migxai.errors import ImageError, TimingError


def saved(path, data, *, unit="sec", tr=2.0, affine=None, kind=nib.Nifti1Image):
    image = kind(data, np.diag([3.0, 3, 3, 1]) if affine is None else affine)
    image.header.set_xyzt_units("mm", unit)
    if data.ndim > 3:
        image.header["pixdim"][4] = tr
    image.to_filename(path)
    return path


def series(shape=(5, 6, 4, 8), seed=0):
    return np.random.default_rng(seed).normal(100, 10, shape).astype(np.float32)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_series_is_loaded_as_it_is(tmp_path, name, kind):
    data = series()
    bold = load_bold(saved(tmp_path / name, data, kind=kind))
    assert bold.data.dtype == np.float32
    np.testing.assert_array_equal(bold.data, data)
    np.testing.assert_array_equal(bold.affine, np.diag([3.0, 3, 3, 1]))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float64])
def test_scaling_in_the_header_is_applied(tmp_path, dtype):
    stored = np.random.default_rng(1).integers(0, 200, (3, 4, 5, 6)).astype(dtype)
    image = nib.Nifti1Image(stored, np.eye(4))
    image.header.set_slope_inter(0.25, 7)
    image.to_filename(tmp_path / "a.nii.gz")
    bold = load_bold(tmp_path / "a.nii.gz")
    assert bold.data.dtype == np.float32
    np.testing.assert_allclose(bold.data, nib.load(tmp_path / "a.nii.gz").get_fdata(), rtol=1e-6)


def test_scaled_integers_match_the_definition(tmp_path):
    stored = np.arange(-60, 60, dtype=np.int16).reshape(2, 3, 4, 5)
    path = saved(tmp_path / "a.nii", stored)
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([4.0, 3.0], dtype="<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(raw)
    np.testing.assert_array_equal(load_bold(path).data, stored * 4.0 + 3.0)


def test_a_file_cut_short_is_refused(tmp_path):
    path = saved(tmp_path / "a.nii.gz", series())
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ImageError, match=r"a\.nii\.gz is cut short"):
        load_bold(path)


def test_a_valid_gzip_of_a_file_cut_short_is_refused(tmp_path):
    path = saved(tmp_path / "a.nii.gz", series())
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-100]))
    with pytest.raises(ImageError, match="is cut short"):
        load_bold(path)


def test_a_header_cut_short_is_refused(tmp_path):
    path = saved(tmp_path / "a.nii.gz", series())
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:200]))
    with pytest.raises(ImageError, match="cannot be read"):
        load_bold(path)


def test_an_uncompressed_file_cut_short_is_refused(tmp_path):
    path = saved(tmp_path / "a.nii", series())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ImageError, match="cannot be read"):
        load_bold(path)


def test_a_wrong_checksum_is_noticed(tmp_path):
    path = saved(tmp_path / "a.nii.gz", series())
    raw = bytearray(path.read_bytes())
    raw[-6] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(ImageError, match="is damaged"):
        load_bold(path)


@pytest.mark.parametrize("position", [15, 400, 1500])
def test_damage_anywhere_is_an_image_error(tmp_path, position):
    path = saved(tmp_path / "a.nii.gz", series())
    raw = bytearray(path.read_bytes())
    raw[position : position + 40] = bytes(byte ^ 0x5A for byte in raw[position : position + 40])
    path.write_bytes(raw)
    with pytest.raises(ImageError, match=r"a\.nii\.gz"):
        load_bold(path)


def test_what_is_not_an_image_is_a_sentence(tmp_path):
    text = tmp_path / "a.nii.gz"
    text.write_text("this is no image")
    with pytest.raises(ImageError, match="not compressed"):
        load_bold(text)
    text.write_bytes(gzip.compress(b"x" * 1000))
    with pytest.raises(ImageError, match="damaged or no NIfTI"):
        load_bold(text)
    text.write_bytes(b"")
    with pytest.raises(ImageError, match="empty"):
        load_bold(text)
    with pytest.raises(ImageError, match="does not exist"):
        load_bold(tmp_path / "b.nii.gz")


@pytest.mark.parametrize("shape", [(4, 4, 4), (4, 4, 4, 1, 6), (4, 4, 4, 6, 2)])
def test_anything_but_4d_is_refused(tmp_path, shape):
    with pytest.raises(ImageError, match=f"is {len(shape)}-D"):
        load_bold(saved(tmp_path / "a.nii.gz", series(shape)))


def test_a_singular_affine_is_refused(tmp_path):
    path = saved(tmp_path / "a.nii", series())
    raw = bytearray(path.read_bytes())
    raw[280:296] = bytes(16)  # the first row of the sform
    raw[254:256] = np.int16(1).tobytes()
    path.write_bytes(raw)
    with pytest.raises(ImageError, match="affine"):
        load_bold(path)


def test_contradicting_and_missing_orientation_is_said(tmp_path):
    image = nib.Nifti1Image(series(), np.eye(4))
    image.set_qform(np.diag([3.0, 3, 3, 1]), 1)
    image.set_sform(np.diag([3.0, 3, 4, 1]), 1)
    image.to_filename(tmp_path / "a.nii")
    assert "differ by up to 3.0 mm" in load_bold(tmp_path / "a.nii").messages[0]
    image.set_qform(None, 0)
    image.set_sform(None, 0)
    image.to_filename(tmp_path / "a.nii")
    assert "no orientation" in load_bold(tmp_path / "a.nii").messages[0]


def test_background_without_values_is_zeroed_however_large():
    data = series()
    data[:3] = np.nan
    messages = clean_bold(data, "a.nii")
    assert "72 background voxels" in messages[0]
    assert not data[:3].any()
    assert data[3:].all()


def test_few_damaged_voxels_are_zeroed_and_counted():
    data = series((10, 10, 10, 5))
    data[5, 5, 5, 2] = np.inf
    data[4, 4, 4] = np.nan
    assert "2 voxels" in clean_bold(data, "a.nii")[0]
    assert not data[5, 5, 5].any()


def test_many_damaged_voxels_are_refused():
    data = series((10, 10, 10, 5))
    data[4:7, 4:7, 4:7] = np.nan
    with pytest.raises(ImageError, match=r"27 voxels \(2\.7 %\)"):
        clean_bold(data, "a.nii")
    data = series()
    data[..., 3] = np.nan
    with pytest.raises(ImageError, match="120 voxels"):
        clean_bold(data, "a.nii")


@pytest.mark.parametrize(("value", "sentence"), [(0.0, "nothing but zeros"), (7.0, "is constant"), (np.nan, "zeros")])
def test_a_series_without_signal_is_refused(value, sentence):
    with pytest.raises(ImageError, match=sentence):
        clean_bold(np.full((4, 4, 4, 5), value, dtype=np.float32), "a.nii")


def test_a_clean_series_is_left_alone():
    data = series()
    before = data.copy()
    assert clean_bold(data, "a.nii") == ()
    np.testing.assert_array_equal(data, before)


def test_an_empty_volume_is_said():
    data = series()
    data[..., 2] = 0
    assert "number 2" in clean_bold(data, "a.nii")[0]


def timing(tmp_path, metadata, **options):
    keys = {key: options.pop(key) for key in ("unit", "tr") if key in options}
    path = saved(tmp_path / "a.nii", series(), **keys)
    return repetition_time(path, nib.load(path).header, metadata, **options)


def test_json_and_header_agree_in_any_unit(tmp_path):
    assert timing(tmp_path, {"RepetitionTime": 2.0}) == (2.0, ())
    assert timing(tmp_path, {"RepetitionTime": 2.0}, unit="msec", tr=2000.0) == (2.0, ())
    assert timing(tmp_path, {"RepetitionTime": 2}, tr=2.0001) == (2.0, ())
    assert "milliseconds" in timing(tmp_path, {"RepetitionTime": 2.0}, unit="unknown", tr=2000.0)[1][0]


def test_a_disagreement_names_both_numbers(tmp_path):
    with pytest.raises(TimingError, match=r"2\.5 s in the JSON, 2 s in the NIfTI"):
        timing(tmp_path, {"RepetitionTime": 2.5})
    assert timing(tmp_path, {"RepetitionTime": 2.5}, override=3.0)[0] == 3.0


@pytest.mark.parametrize("value", [0, -1, "2.0", True, [2.0], float("nan")])
def test_an_impossible_repetition_time_is_refused(tmp_path, value):
    with pytest.raises(TimingError, match="impossible RepetitionTime"):
        timing(tmp_path, {"RepetitionTime": value})


def test_an_absent_repetition_time(tmp_path):
    with pytest.raises(TimingError, match="has no RepetitionTime"):
        timing(tmp_path, {})
    with pytest.raises(TimingError, match="irregular"):
        timing(tmp_path, {"VolumeTiming": [0, 2, 5]})
    assert timing(tmp_path, {}, header_suffices=True)[0] == 2.0
    with pytest.raises(TimingError, match="has no RepetitionTime"):
        timing(tmp_path, {}, tr=0.0, header_suffices=True)
    assert "NIfTI header has none" not in timing(tmp_path, {"RepetitionTime": 2.0}, tr=0.0)[1][0]
    assert timing(tmp_path, {"RepetitionTime": 2.0}, tr=0.0)[0] == 2.0
