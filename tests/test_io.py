from __future__ import annotations

import errno
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from migxai import io as writing
from migxai.errors import InputError, OutputError, ResourceError
from migxai.io import (
    copy_with,
    free_gb,
    prepare_directory,
    read_json,
    read_tsv,
    write_bytes,
    write_json,
    write_nifti,
    write_text,
    write_tsv,
)

AFFINE = np.array([[-3.0, 0, 0, 90], [0, 3, 0, -126], [0, 0, 3, -72], [0, 0, 0, 1]])


def test_the_same_image_gives_the_same_bytes_wherever_it_is_written(tmp_path):
    data = np.random.default_rng(0).normal(size=(5, 6, 7, 4)).astype(np.float32)
    first, second = tmp_path / "a" / "x_bold.nii.gz", tmp_path / "b" / "y_bold.nii.gz"
    for path in (first, second):
        write_nifti(path, data, AFFINE, space="MNI152NLin2009cAsym", repetition_time=2.0)
    assert first.read_bytes() == second.read_bytes()
    image = nib.load(first)
    np.testing.assert_array_equal(np.asarray(image.dataobj), data)
    np.testing.assert_array_equal(image.affine, AFFINE)


def test_the_header_holds_geometry_and_units_alone(tmp_path):
    path = tmp_path / "x_boldmap.nii.gz"
    write_nifti(path, np.ones((3, 3, 3)), AFFINE, space="MNI152NLin2009cAsym")
    header = nib.load(path).header
    assert header.get_data_dtype() == np.float32
    assert header.get_xyzt_units() == ("mm", "unknown")
    assert (int(header["sform_code"]), int(header["qform_code"])) == (4, 4)
    assert {bytes(header[name].tobytes()).strip(b"\0") for name in ("descrip", "aux_file", "db_name")} == {b""}
    assert not header.extensions
    write_nifti(path, np.ones((3, 3, 3, 2)), AFFINE, repetition_time=1.5)
    header = nib.load(path).header
    assert (int(header["sform_code"]), header.get_xyzt_units(), header.get_zooms()[3]) == (1, ("mm", "sec"), 1.5)


@pytest.mark.parametrize(
    ("name", "shape", "tr"),
    [
        ("x_bold.nii.gz", (3, 3, 3), None),
        ("x_bold.nii", (3, 3, 3), None),
        ("x_boldmap.nii.gz", (3, 3, 3, 2), None),
        ("x_boldmap.nii.gz", (3, 3, 3), 2.0),
        ("x_boldmap.nii.gz", (3, 0, 3), None),
        ("x_boldmap.nii.gz", (3, 3), None),
    ],
)
def test_images_that_do_not_fit_their_name_are_refused(tmp_path, name, shape, tr):
    with pytest.raises(ValueError, match=name):
        write_nifti(tmp_path / name, np.zeros(shape), AFFINE, repetition_time=tr)
    assert not list(tmp_path.iterdir())


def test_a_table_has_tabs_lf_and_na(tmp_path):
    write_tsv(tmp_path / "x.tsv", pd.DataFrame({"a": [0.1, np.nan], "b": ["x", None]}))
    assert (tmp_path / "x.tsv").read_bytes() == b"a\tb\n0.1\tx\nn/a\tn/a\n"


def test_nothing_empty_and_no_old_name_is_written(tmp_path):
    with pytest.raises(ValueError, match="empty table"):
        write_tsv(tmp_path / "x.tsv", pd.DataFrame({"a": []}))
    with pytest.raises(ValueError, match="empty file"):
        write_text(tmp_path / "x.txt", "")
    with pytest.raises(ValueError, match="_timeseries"):
        write_tsv(tmp_path / "sub-01_desc-confounds_regressors.tsv", pd.DataFrame({"a": [1]}))
    assert not list(tmp_path.iterdir())


def test_json_keeps_its_order_and_knows_numpy(tmp_path):
    content = {"b": np.float32(0.5), "a": np.arange(2), "c": {"x": (float("nan"), True, None)}, "d": "é"}
    write_json(tmp_path / "x.json", content)
    text = (tmp_path / "x.json").read_text()
    assert text.endswith("}\n")
    assert list(json.loads(text)) == ["b", "a", "c", "d"]
    assert json.loads(text) == {"b": 0.5, "a": [0, 1], "c": {"x": ["n/a", True, None]}, "d": "é"}


def test_a_path_never_gets_into_json(tmp_path):
    with pytest.raises(TypeError, match="Path"):
        write_json(tmp_path / "x.json", {"source": tmp_path})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "error", "sentence"),
    [
        (errno.ENOSPC, ResourceError, "full"),
        (errno.EDQUOT, ResourceError, "full"),
        (errno.EROFS, OutputError, "read-only"),
        (errno.EACCES, OutputError, "no permission"),
        (errno.EIO, OutputError, "cannot be written"),
    ],
)
def test_a_failed_write_is_a_sentence_and_leaves_the_old_file(tmp_path, monkeypatch, number, error, sentence):
    path = tmp_path / "x.txt"
    write_text(path, "old")

    def fail(*_):
        raise OSError(number, "system words")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(error, match=sentence) as caught:
        write_text(path, "new")
    assert str(tmp_path) not in str(caught.value)
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["x.txt"]


def test_what_a_killed_run_left_is_overwritten(tmp_path):
    (tmp_path / ".x.txt.part").write_text("half a file, longer than the new one")
    write_text(tmp_path / "x.txt", "whole")
    assert {item.name: item.read_text() for item in tmp_path.iterdir()} == {"x.txt": "whole"}


def test_a_library_can_write_under_its_own_format(tmp_path):
    seen = []

    def save(path):
        seen.append(path.name)
        path.write_text("transform")

    copy_with(tmp_path / "sub" / "x_xfm.h5", save)
    assert (tmp_path / "sub" / "x_xfm.h5").read_text() == "transform"
    assert seen[0].endswith(".h5")
    assert seen[0] != "x_xfm.h5"
    assert len(list((tmp_path / "sub").iterdir())) == 1


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        prepare_directory(tmp_path / "out")
    with pytest.raises(OutputError):
        prepare_directory(tmp_path / "out" / "deeper")
    prepare_directory(tmp_path / "new" / "deep")
    assert not list((tmp_path / "new" / "deep").iterdir())


def test_an_unwritable_output_is_a_sentence(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError, match="read-only file system"):
        prepare_directory(tmp_path)


def test_a_full_disk_on_a_real_device():
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(OSError, match="space") as caught:
        full.write_bytes(b"x")
    assert isinstance(writing.as_output_error(caught.value, full), ResourceError)


def test_bytes_are_written_as_they_are(tmp_path):
    write_bytes(tmp_path / "x.bin", b"\r\n\0")
    assert (tmp_path / "x.bin").read_bytes() == b"\r\n\0"


def test_free_space_of_a_folder_that_is_not_there_yet(tmp_path):
    assert free_gb(tmp_path / "a" / "b") > 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "x.json cannot be read: No such file or directory"),
        (b"\xff\xfe", "x.json cannot be read"),
        (b'{"a": ', "x.json is not valid JSON .line 1: .*correct the file"),
        (b"[1]", "x.json holds no JSON object; correct the file"),
    ],
)
def test_what_is_no_json_object_is_a_sentence(tmp_path, content, sentence):
    path = tmp_path / "deep" / "x.json"
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{sentence}"):
        read_json(path)
    with pytest.raises(InputError, match=r"^deep/x\.json .*; make it again\.$"):
        read_json(path, tmp_path, remedy="make it again")


def test_a_table_is_read_as_text_or_as_numbers(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("\ufeffa\tb\n01\tn/a\n2\t0.5\n", encoding="utf-8")
    assert read_tsv(path).to_dict("list") == {"a": ["01", "2"], "b": ["n/a", "0.5"]}
    numbers = read_tsv(path, numbers=True)
    assert numbers["a"].tolist() == [1, 2]
    np.testing.assert_array_equal(numbers["b"], [np.nan, 0.5])


@pytest.mark.parametrize("content", [None, b"", b"a\tb\n1\t2\t3\n4\t5\t6\t7\n", b"\xff\xfe\xff"])
def test_what_is_no_table_is_a_sentence(tmp_path, content):
    if content is not None:
        (tmp_path / "x.tsv").write_bytes(content)
    with pytest.raises(InputError, match=r"^x\.tsv (cannot be read|is not a table)"):
        read_tsv(tmp_path / "x.tsv")
