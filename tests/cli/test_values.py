from __future__ import annotations

import json
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from migxai import options
from migxai.cli import values


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (values.memory, "16", 16.0),
        (values.memory, "16000", 16.0),
        (values.memory, "16G", 16.0),
        (values.memory, "16gb", 16.0),
        (values.memory, "1500MiB", 1.5),
        (values.memory, "0.5T", 500.0),
        (values.memory_gb, "2000", 2000.0),
        (values.memory_mb, "500", 0.5),
        (values.label("sub"), "sub-01", "01"),
        (values.label("sub"), "01", "01"),
        (values.label("sub"), "0?", "0?"),
        (values.label("ses"), "ses-a*", "a*"),
        (values.whole_or_auto, "auto", "auto"),
        (values.whole_or_auto, "0", 0),
        (values.number_or_native, "native", "native"),
        (values.number_or_native, "3", 3.0),
        (values.array_index, "3/20", "3/20"),
        (values.array_index, "auto/7", "auto/7"),
        (values.derivative, "fmriprep=/a/b", ("fmriprep", Path("/a/b"))),
        (values.derivative, "/data/fmriprep-24.1.0", ("fmriprep", Path("/data/fmriprep-24.1.0"))),
    ],
)
def test_reads(read, text, expected):
    assert read(text) == expected


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (values.memory, "much"),
        (values.memory, "0"),
        (values.memory, "-3"),
        (values.label("sub"), "sub-"),
        (values.label("sub"), "ses-01"),
        (values.label("sub"), "../x"),
        (values.whole, "-1"),
        (options.count, "0"),
        (values.number, "nan"),
        (values.number, "inf"),
        (values.number, "1,5"),
        (values.array_index, "0/3"),
        (values.array_index, "4/3"),
        (values.array_index, "3"),
        (values.derivative, "fmriprep="),
        (values.derivative, "=/x"),
        (values.bids_filters, "/no/such/file.json"),
    ],
)
def test_refuses(read, text):
    with pytest.raises(ArgumentTypeError):
        read(text)


def test_paths_do_not_depend_on_where_a_child_runs():
    assert values.path("x").is_absolute()


def test_filter_file(tmp_path):
    file = tmp_path / "filter.json"
    file.write_text(json.dumps({"bold": {"session": None, "run": [1, None]}}))
    assert values.bids_filters(str(file)) == {"bold": {"session": "Query.NONE", "run": [1, "Query.NONE"]}}
    for broken in ("{", "[]", '{"bold": 1}'):
        file.write_text(broken)
        with pytest.raises(ArgumentTypeError, match=r"filter\.json"):
            values.bids_filters(str(file))
