"""Values of options, from a configuration file or typed."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from migxai import options
from migxai.config import Config
from migxai.errors import UsageError
from migxai.options import Option, count, number


def option(**more):
    return Option(("--dc-x",), "indicators", "extensions", "dc.x", "Something.", **more)


@pytest.mark.parametrize(
    ("given", "value", "expected"),
    [
        ({"parse": number}, 0.3, 0.3),
        ({"parse": count}, 3, 3),
        ({"kind": "switch"}, True, True),
        ({"kind": "list", "parse": number}, [1, 2], (1.0, 2.0)),
        ({"choices": ("a", "b")}, "a", "a"),
    ],
)
def test_what_fits(given, value, expected):
    assert option(**given).checked(value, "here") == expected


@pytest.mark.parametrize(
    ("given", "value", "sentence"),
    [
        ({"parse": number}, "high", "here = 'high' does not fit: 'high' is not a number."),
        ({"parse": count}, 0, "it must be at least 1"),
        ({"kind": "switch"}, "on", "it is true or false"),
        ({"choices": ("a", "b")}, "c", "it is one of a, b."),
    ],
)
def test_what_does_not_fit(given, value, sentence):
    with pytest.raises(UsageError, match=sentence):
        option(**given).checked(value, "here")


def test_an_option_of_an_extension_has_its_own_default():
    mine = option(parse=number, initial=0.25)
    assert (mine.dest, mine.default_text()) == ("extensions.dc.x", "0.25")
    assert mine.value(mine.set(Config(), 0.5)) == 0.5
    assert mine.value(Config()) == 0.25


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (options.memory, "16", 16.0),
        (options.memory, "16000", 16.0),
        (options.memory, "16G", 16.0),
        (options.memory, "16gb", 16.0),
        (options.memory, "1500MiB", 1.5),
        (options.memory, "0.5T", 500.0),
        (options.memory_gb, "2000", 2000.0),
        (options.memory_mb, "500", 0.5),
        (options.label("sub"), "sub-01", "01"),
        (options.label("sub"), "01", "01"),
        (options.label("sub"), "0?", "0?"),
        (options.label("ses"), "ses-a*", "a*"),
        (options.whole_or_auto, "auto", "auto"),
        (options.whole_or_auto, "0", 0),
        (options.number_or_native, "native", "native"),
        (options.number_or_native, "3", 3.0),
        (options.array_index, "3/20", "3/20"),
        (options.array_index, "auto/7", "auto/7"),
        (options.derivative, "fmriprep=/a/b", ("fmriprep", Path("/a/b"))),
        (options.derivative, "/data/fmriprep-24.1.0", ("fmriprep", Path("/data/fmriprep-24.1.0"))),
    ],
)
def test_reads(read, text, expected):
    assert read(text) == expected


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (options.memory, "much"),
        (options.memory, "0"),
        (options.memory, "-3"),
        (options.label("sub"), "sub-"),
        (options.label("sub"), "ses-01"),
        (options.label("sub"), "../x"),
        (options.whole, "-1"),
        (options.count, "0"),
        (options.number, "nan"),
        (options.number, "inf"),
        (options.number, "1,5"),
        (options.array_index, "0/3"),
        (options.array_index, "4/3"),
        (options.array_index, "3"),
        (options.derivative, "fmriprep="),
        (options.derivative, "=/x"),
        (options.bids_filters, "/no/such/file.json"),
    ],
)
def test_refuses(read, text):
    with pytest.raises(ArgumentTypeError):
        read(text)


def test_paths_do_not_depend_on_where_a_child_runs():
    assert options.path("x").is_absolute()


def test_filter_file(tmp_path):
    file = tmp_path / "filter.json"
    file.write_text(json.dumps({"bold": {"session": None, "run": [1, None]}}))
    assert options.bids_filters(str(file)) == {"bold": {"session": "Query.NONE", "run": [1, "Query.NONE"]}}
    for broken in ("{", "[]", '{"bold": 1}'):
        file.write_text(broken)
        with pytest.raises(ArgumentTypeError, match=r"filter\.json"):
            options.bids_filters(str(file))
