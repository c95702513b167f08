"""Values of options that come from a configuration file."""

import pytest

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
