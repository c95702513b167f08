"""Facts of runs, and what is said of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from migxai.config import PAPER_PRESET, Config
from migxai.participant.facts import (
    confounds_fields,
    map_fields,
    mean_facts,
    regional_fields,
    series_fields,
    shared_fields,
    summarise,
)
from migxai.participant.run import methods_facts
from tests.participant.facts_fixtures import run_facts


def test_counts_add_up_over_runs():
    facts = mean_facts([run_facts(), run_facts(volumes=20, alff=3.0, file="bids:raw:b")])
    assert (facts.acquisition.volumes, facts.acquisition.discarded) == (30, 4)
    assert (facts.denoising.residual_dof, facts.denoising.censored, facts.averaged_runs) == (24, 2, 2)
    assert facts.indicators.means == {"alff": 2.0}
    assert facts.acquisition.files == ("bids:raw:a", "bids:raw:b")


def test_little_coverage_is_doubtful():
    assert run_facts().grid.warnings == ()
    assert run_facts(coverage=0.8).grid.warnings == ("The run covers only 80% of the template's brain.",)


PAPER = Config().replace("denoising", **PAPER_PRESET["denoising"])
REGIONS = {"names": np.array(["A", "B"]), "coverage": np.array([1.0, 0.5]), "alff": np.array([1.0, np.nan])}


def summary(config=None, **facts):
    return summarise(REGIONS, {"sub": "01", "task": "rest"}, config or Config(), run_facts(**facts), None)


def test_sidecars_say_what_a_map_was_made_from():
    fields = map_fields("alff", "", run_facts(alff=1.25), Config())
    assert fields["Normalization"] == "divided by its mean in the mask, 1.25"
    assert fields["InputSeries"] == "regressed"
    assert (fields["SmoothedBefore"], fields["SmoothedAfter"]) == (4.0, 0.0)
    assert fields["FrequencyBand"] == series_fields(Config())["BandPass"] == [0.01, 0.08]
    assert fields["NumberOfVolumes"] == 10
    assert "Atlas" not in fields
    assert "Atlas" in regional_fields("alff", run_facts(), Config())


def test_sidecars_of_the_papers_order():
    fields = map_fields("alff", "raw", run_facts(), PAPER)
    assert fields["InputSeries"] == "band-passed, smoothed and regressed, in this order"
    assert fields["NormalizationVoxels"] is None
    assert series_fields(PAPER)["SmoothingFWHM"] == 4.0
    assert shared_fields(run_facts(), PAPER)["ProcessingOrder"] == "band-pass, smooth, regress"


def test_columns_of_confounds_are_described_by_axis():
    fields = confounds_fields(pd.DataFrame(columns=["trans_y", "kept", "trans_x_power2"]))
    assert fields["trans_y"] == {
        "Description": "Translation along y of the volume relative to the first kept one.",
        "Units": "mm",
    }
    assert "Units" not in fields["kept"]
    assert "trans_x_power2" not in fields


def test_the_summary_says_what_was_found():
    found = summary(coverage=0.5, excluded="It moved.")
    assert not found.usable
    assert found.warnings == ("It is odd.", "The run covers only 50% of the template's brain.")
    assert [row.passed for row in found.quality] == [False, False]
    assert found.numbers["Volumes used"] == 9
    assert [step.name for step in found.steps] == ["Slice timing", "Realignment", "Resampling", "Denoising"]


@pytest.mark.parametrize("source", ["raw", "fmriprep"])
def test_the_methods_claim_what_all_runs_have_in_common(source):
    facts = methods_facts(Config(), source, [summary(source=source), summary(source=source, excluded="It moved.")])
    assert (facts.source, facts.n_dropped, facts.n_excluded) == (source, 2, 1)
    assert facts.slice_timing is (False if source == "raw" else None)
