from __future__ import annotations

import json

import pytest

from migxai.bids.subjects import dataset_root, select_subjects
from migxai.cli.parser import parse
from migxai.errors import InputError, UsageError


def selected(root, *arguments):
    return select_subjects(parse([str(root), "/out", "participant", *arguments]).config)


def test_subjects_by_label_and_glob(dataset):
    root = dataset("01", "02", "10")
    assert selected(root) == ("01", "02", "10")
    assert selected(root, "--participant-label", "sub-0*", "10") == ("01", "02", "10")
    assert selected(root, "--participant-label", "0?") == ("01", "02")
    with pytest.raises(UsageError, match="No participant '1'"):
        selected(root, "--participant-label", "1")
    with pytest.raises(UsageError, match="No task 'nback'"):
        selected(root, "-t", "nback")


def test_subjects_of_the_derivative_that_is_processed(dataset, tmp_path):
    raw, prep = dataset("01", "02"), dataset("02", root=tmp_path / "prep")
    assert selected(raw, "-d", f"fmriprep={prep}") == ("02",)
    description = {"Name": "x", "BIDSVersion": "1.9.0", "GeneratedBy": [{"Name": "fMRIPrep"}]}
    (prep / "dataset_description.json").write_text(json.dumps(description))
    config = parse([str(raw), "/out", "participant", "-d", f"mine={prep}"]).config
    assert dataset_root(config) == prep


def test_no_dataset(tmp_path):
    with pytest.raises(InputError):
        selected(tmp_path)
