from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migxai.config import PAPER_PRESET, PLACEHOLDER, Config, from_toml, placeholders, to_toml
from migxai.errors import UsageError

QUICK = settings(max_examples=40, deadline=None)
SECTIONS = [
    item.name for item in dataclasses.fields(Config) if item.name not in ("extensions", "preset", "random_seed")
]
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=8)
FILTERS = st.dictionaries(
    WORDS, st.dictionaries(WORDS, WORDS | st.integers(0, 9) | st.booleans(), max_size=2), max_size=2
)


def values(hint):
    """Draw values that a field's type hint allows."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, types.UnionType) or origin is typing.Union:
        return st.one_of(*map(values, inner))
    if origin is typing.Literal:
        return st.sampled_from(inner)
    if origin is tuple:
        if inner[-1] is Ellipsis:
            return st.lists(values(inner[0]), max_size=3).map(tuple)
        return st.tuples(*map(values, inner))
    known = {
        int: st.integers(0, 10**6),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        str: WORDS,
        Path: WORDS.map(lambda word: Path("/somewhere") / word.replace("/", "_")),
        type(None): st.none(),
    }
    return FILTERS if origin is dict else known[hint]


@st.composite
def configs(draw):
    config = Config()
    for name in SECTIONS:
        hints = typing.get_type_hints(type(getattr(config, name)))
        config = config.replace(name, **{field: draw(values(hint)) for field, hint in hints.items()})
    return config.replace(
        "config",
        preset=draw(st.sampled_from(["default", "paper"])),
        random_seed=draw(st.integers(0, 99)),
        extensions=draw(st.dictionaries(WORDS, WORDS | st.integers(0, 9) | st.booleans(), max_size=2)),
    )


def without_paths(config):
    for name in SECTIONS:
        content = getattr(config, name)
        defaults = type(content)()
        changes = {key: getattr(defaults, key) for key, value in vars(content).items() if isinstance(value, Path)}
        config = config.replace(name, **changes)
    return config.replace("run", derivatives=())


@QUICK
@given(configs())
def test_toml_round_trip_but_for_paths(config):
    text = to_toml(config)
    assert from_toml(text) == without_paths(config)
    assert "/somewhere" not in text


@QUICK
@given(configs())
def test_hash_survives_the_round_trip(config):
    config = config.replace("indicators", atlas=None, atlas_labels=None)
    again = from_toml(to_toml(config))
    assert again.hash() == config.hash()
    again = again.replace("run", derivatives=config.run.derivatives)
    assert again.resume_key() == config.resume_key()


@QUICK
@given(configs())
def test_placeholders_are_named(config):
    found = set(placeholders(to_toml(config)))
    expected = {
        f"{name}.{key}"
        for name in SECTIONS
        for key, value in vars(getattr(config, name)).items()
        if isinstance(value, Path)
    }
    assert found == expected | ({"run.derivatives"} if config.run.derivatives else set())


def test_where_and_how_changes_no_hash():
    config = Config()
    run = config.replace("run", bids_dir=Path("/a"), nprocs=3, keep="all", verbose=2)
    assert run.hash() == config.hash()
    assert run.resume_key() == config.resume_key()
    assert len(config.hash()) == 8


def another(hint, value):
    """Return a value other than the one given that a field may have."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is typing.Literal:
        return next(choice for choice in typing.get_args(hint) if choice != value)
    if typing.get_origin(hint) is tuple:
        return (*value, "another")
    return {bool: lambda: not value, str: lambda: f"{value}?"}.get(hint, lambda: hint((value or 0) + 1))()


@pytest.mark.parametrize("section", ["preprocessing", "denoising", "indicators"])
def test_every_number_changes_the_hash(section):
    config = Config()
    for name, hint in typing.get_type_hints(type(getattr(config, section))).items():
        if name not in ("atlas", "atlas_labels"):
            other = another(hint, getattr(getattr(config, section), name))
            assert config.replace(section, **{name: other}).hash() != config.hash(), name


def test_what_is_selected_changes_the_resume_key_alone():
    config = Config()
    for changed in (
        config.replace("selection", run_id=("1",)),
        config.replace("selection", task_id="eyes"),
        config.replace("run", derivatives=(("fmriprep", Path("/p")),)),
    ):
        assert changed.hash() == config.hash()
        assert changed.resume_key() != config.resume_key()
    assert config.replace("selection", participant_label=("01",)).resume_key() == config.resume_key()


def test_atlas_enters_the_hash_by_content(tmp_path):
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    one, same, other = (Config().replace("indicators", atlas=tmp_path / name).hash() for name in "abc")
    assert one == same != other != Config().hash()


def test_numbers_hash_alike_however_they_are_written():
    assert from_toml("[denoising]\nfwhm = 4").hash() == Config().hash()
    assert from_toml("[preprocessing]\nresolution = 3").hash() == Config().hash()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[denoising]\nsmooth = 4", r"study\.toml: denoising\.smooth is not a setting"),
        ("[nothing]\na = 1", "nothing is not a setting"),
        ("speed = 1", "speed is not a setting"),
        ("denoising = 4", "denoising = 4 does not fit"),
        ("[denoising]\nfwhm = 'wide'", "expected float"),
        ("[denoising]\nfwhm = true", "expected float"),
        ("[denoising]\nmotion_terms = 23", "expected one of 6, 12, 24"),
        ("[denoising]\nmotion_terms = 24.0", "expected one of 6, 12, 24"),
        ("[preprocessing]\ndummy_scans = 'some'", "expected int or one of auto"),
        ("[selection]\nparticipant_label = '01'", "does not fit"),
        ("[selection]\nparticipant_label = [1]", "does not fit"),
        ("[run]\nderivatives = [['fmriprep']]", "does not fit"),
        ("preset = 'best'", "expected one of default, paper"),
        ("fwhm = ", "not valid TOML"),
    ],
)
def test_what_does_not_fit_is_a_sentence(text, sentence):
    with pytest.raises(UsageError, match=sentence):
        from_toml(text, origin="study.toml")


def test_missing_keys_and_placeholders_come_from_the_base():
    base = Config().replace("denoising", fwhm=6.0).replace("run", work_dir=Path("/w"))
    config = from_toml(f'[denoising]\nlow = 0.02\n[run]\nwork_dir = "{PLACEHOLDER}"', base)
    assert (config.denoising.fwhm, config.denoising.low, config.run.work_dir) == (6.0, 0.02, Path("/w"))


def test_the_preset_names_settings_that_exist():
    config = Config()
    for section, changes in PAPER_PRESET.items():
        config = config.replace(section, **changes)
    assert from_toml(to_toml(config)) == config
    assert config.hash() != Config().hash()


def test_settings_of_extensions():
    config = Config().replace("config", extensions={"dc.threshold": 0.3, "dc.mask": Path("/somewhere/mask.nii")})
    assert from_toml("[extensions.dc]\nthreshold = 0.3").extensions == {"dc.threshold": 0.3}
    assert from_toml(to_toml(config)).extensions == {"dc.threshold": 0.3}
    assert "extensions" not in to_toml(Config())
    # Settings of what is not made change no number.
    assert config.hash() == Config().hash()
    made, other = (
        item.replace("indicators", indicators=("alff", "dc"))
        for item in (config, config.replace("config", extensions={"dc.threshold": 0.4}))
    )
    assert made.hash() != other.hash()
