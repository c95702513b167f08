"""A network and an estimator from outside, from ``--help`` through a group run to card, report and --predict."""

from __future__ import annotations

import json

import pytest

from tests.map_fixtures import build_maps

QUICK = (
    "--indicators", "reho", "--comparison", "hc_vs_migraine", "--slices", 2, "--folds", 2, "--trials", 1,
    "--augmentations", 0, "--epochs", 2, "--weights", "random", "--unfreeze", "linear", "--device", "cpu",
    "--save-models", "final", "--nprocs", 1,
)  # fmt: skip


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return build_maps(tmp_path_factory.mktemp("cohort") / "demo_maps", subjects=16, sites=2, indicators=("reho",))


def run_group(migxai, cohort, output, name, title):
    assert name in " ".join(migxai("--help").out.split())
    done = migxai(cohort, output, "group", "--models", name, *QUICK)
    assert done.code in (0, 4), done.err
    group = output / "group"
    models = sorted((group / "models").glob("*.safetensors"))
    assert models
    card = json.loads(models[0].with_suffix(".json").read_text())
    assert card["model"] == name
    assert card["versions"][f"migxai-{name.replace('_', '-')}"] == "1.0"
    report = next(group.glob("*.html")).read_text()
    assert title in report
    predicted = migxai(cohort, output.parent / "new", "group", "--predict", models[0], "--nprocs", 1)
    assert predicted.code == 0, predicted.err
    return group, report


def test_an_estimator_from_help_to_predict(install, migxai, cohort, tmp_path):
    install("migxai.estimators", "logistic", "logistic")
    _, report = run_group(migxai, cohort, tmp_path / "out", "logistic", "Logistic regression")
    assert "The regression analysis of binary sequences" in report
    assert "Logistic regression" in report


def test_a_network_from_help_to_predict(install, migxai, cohort, tmp_path):
    pytest.importorskip("torch", reason="networks need migxai[torch]")
    install("migxai.networks", "small_cnn", "small_cnn")
    group, report = run_group(migxai, cohort, tmp_path / "out", "small_cnn", "Small CNN")
    assert "Gradient-based learning applied to document recognition" in report
    maps = list(group.rglob("*gradcam*.nii.gz"))
    assert maps
