"""An indicator from outside, from ``--help`` to the group level, and extensions that can't be used."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import pytest

GROUP = "migxai.indicators"
QUICK = ("--resolution", "native", "--motion-terms", 6, "--dummy-scans", 0, "--no-bold", "--nprocs", 1)


def sidecar(output, label="01", stat="dc"):
    return json.loads(next(output.rglob(f"sub-{label}_*Asym_stat-{stat}_boldmap.json")).read_text())


def test_an_indicator_from_help_to_report(install, migxai, preprocessed, tmp_path):
    install(GROUP, "dc", "degree_centrality")
    told = " ".join(migxai("--help").out.split())
    assert "{alff,falff,reho,rfcs,dc}" in told
    assert "--dc-threshold R Correlations above this count for degree centrality. (default: 0.25)" in told

    data, output = preprocessed("prep", "01"), tmp_path / "out"
    done = migxai(data, output, "participant", "--indicators", "dc", "reho", "--dc-threshold", 0.3, *QUICK)
    assert done.code == 0, done.err
    fields = sidecar(output)
    assert fields["CorrelationThreshold"] == 0.3
    assert fields["Extension"] == "migxai-degree-centrality 1.0"
    assert fields["SmoothedAfter"] == 4.0
    assert "Extension" not in sidecar(output, stat="reho")
    values = nib.load(next(output.rglob("*_stat-dc_boldmap.nii.gz"))).get_fdata()
    assert values[values != 0].mean() == pytest.approx(1, abs=0.05)
    assert list(output.rglob("*_atlas-AAL_stat-dc_boldmap.tsv"))

    methods = (output / "logs" / "CITATION.md").read_text()
    assert "Degree centrality (Zuo et al., 2012) is the sum of a voxel's Pearson correlations above 0.3" in methods
    assert "It was computed by migxai-degree-centrality 1.0, an extension of migxai." in methods
    assert "doi:10.1093/cercor/bhr269" in methods
    report = (output / "sub-01.html").read_text()
    assert "Degree centrality, --dc-threshold" in report
    assert "Network centrality in the human functional connectome" in report
    assert '"dc.threshold" = 0.3' in (output / "logs" / "config.toml").read_text()

    # At another site the threshold was another: the two are not pooled.
    other = shutil.copytree(output, tmp_path / "other")
    path = next(other.rglob("*Asym_stat-dc_boldmap.json"))
    path.write_text(path.read_text().replace('"CorrelationThreshold": 0.3', '"CorrelationThreshold": 0.4'))
    sites = ("-d", f"one={output}", f"two={other}")
    done = migxai(data, tmp_path / "pooled", "group", *sites, "--indicators", "dc", "--models", "svm")
    assert done.code == 3
    assert "The maps of dc were not all made alike: CorrelationThreshold is 0.3 for" in done.err


def test_settings_come_from_a_file_too(install, migxai, preprocessed, tmp_path):
    install(GROUP, "dc", "degree_centrality")
    data, file = preprocessed("prep", "01"), tmp_path / "own.toml"
    for text, sentence in (
        ('"dc.treshold" = 0.3', "dc.treshold is not a setting of an extension of migxai; known are dc.threshold."),
        ('"dc.threshold" = "high"', "dc.threshold = 'high' does not fit: 'high' is not a number."),
    ):
        file.write_text(f"[extensions]\n{text}\n")
        done = migxai(data, tmp_path / "out", "participant", "--config-file", file, "--dry-run")
        assert (done.code, sentence in done.err) == (2, True), done.err


TAKEN = """
import dataclasses
from migxai.indicators.reho import ENTRY as REHO
ENTRY = dataclasses.replace(REHO, title="Another ReHo")
"""
FLAG_TAKEN = """
import dataclasses
from migxai.indicators.reho import ENTRY as REHO
from migxai.options import Option
OPTION = Option(("--fwhm",), "indicators", "extensions", "rehox.fwhm", "Smoothing.", initial=1)
ENTRY = dataclasses.replace(REHO, name="rehox", options=(OPTION,))
"""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import no_such_library", "The indicator 'x' of migxai-broken 1.0 can't be imported"),
        ("ENTRY = 'a map'", "The indicator 'x' of migxai-broken 1.0 is not an object of migxai's Indicator"),
        (TAKEN, "The indicator 'reho' of migxai-broken 1.0 has a name that migxai itself has taken"),
        (FLAG_TAKEN, "The option --fwhm of migxai-broken 1.0 is left out, so its default holds"),
    ],
)
def test_what_cannot_be_used_is_named_and_the_rest_works(install, migxai, preprocessed, tmp_path, text, sentence):
    install(GROUP, "x", "broken", text=text)
    install(GROUP, "dc", "degree_centrality")
    assert "dc" in migxai("--help").out
    done = migxai(preprocessed("prep", "01"), tmp_path / "out", "participant", "--indicators", "dc", "--dry-run")
    assert done.code == 0, done.err
    assert done.err.count(sentence) == 1
