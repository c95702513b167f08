from __future__ import annotations

from migxai.participant.facts import mean_facts
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
