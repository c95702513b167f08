"""The entries of indicators: light, complete, and in step with the defaults of the configuration."""

import re
import subprocess
import sys

import pytest

from migxai.cohort.compatibility import definition_fields
from migxai.config import Config
from migxai.errors import UsageError
from migxai.indicators.registry import INDICATORS
from migxai.reports.participant.methods import MethodsFacts, methods_text


def test_listing_entries_imports_nothing_heavy():
    code = "import sys; from migxai.indicators.registry import INDICATORS; list(INDICATORS); "
    code += "print(sorted({'numpy', 'scipy', 'numba', 'nibabel', 'pandas'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_all_built_in_indicators_are_made_by_default():
    built_in = tuple(name for name, entry in INDICATORS.items() if not entry.origin)
    assert Config().indicators.indicators == built_in == ("alff", "falff", "reho", "rfcs")


def test_names_of_definition_fields_are_the_same_for_every_configuration():
    other = Config().replace("indicators", reho_tie_correction=True, rfcs_divisor="n", alff_definition="afni")
    for name, entry in INDICATORS.items():
        assert tuple(entry.definition(other)) == entry.definition_fields()
        assert {"Statistic", *entry.definition_fields(), "FrequencyBand", "SmoothedAfter"} <= set(
            definition_fields(name)
        )
        assert len(definition_fields(name)) == len(set(definition_fields(name)))
    # Of an indicator that nobody here knows, any definition may decide.
    assert {"Neighbours", "Correlation"} <= set(definition_fields("unknown"))


def test_settings_by_name():
    config = Config().replace("indicators", reho_neighbours=7)
    assert INDICATORS["reho"].setting(config, "reho_neighbours") == 7
    with pytest.raises(KeyError):
        INDICATORS["reho"].setting(config, "threshold")


def test_titles_and_unknown_names():
    assert [INDICATORS.title(name) for name in ("falff", "unknown")] == ["fALFF", "unknown"]
    assert INDICATORS.get("unknown") is None
    with pytest.raises(UsageError, match=r"There is no indicator 'rehoo'; there are .* Did you mean reho"):
        INDICATORS["rehoo"]


def test_every_entry_is_described_and_cited_in_the_methods_text():
    text = methods_text(Config(), MethodsFacts("1")).markdown()
    for name, entry in INDICATORS.items():
        assert re.search(rf"\b{entry.title}\b", text) or name == "falff"  # in words: fractional ALFF
        assert entry.citation.partition(" doi:")[0] in text
