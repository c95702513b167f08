"""Maps and regions as the output keeps them, of evidence whose place is known."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from migxai.cohort.maps import read_planted_effect
from migxai.config import Config
from migxai.evaluation.results import GroupFolder
from migxai.explain.saliency_maps import SaliencyMaps
from migxai.explain.volumes import SliceSpace
from migxai.group.audit import checks_path, write_audit
from migxai.group.explain import saliency_path, write_saliency
from migxai.group.fit import list_experiments, permutation_path
from migxai.group.plan import common_template
from migxai.group.report import NO_MODEL, label_of, write_explanations
from migxai.io import write_json
from migxai.reports.group.explained_maps import read_explained_maps
from tests.group.cohorts import LABELS, configure, plan_comparison

SHAPE, SPACING = (33, 39, 33), 6.0


@pytest.fixture(scope="module")
def template():
    affine = np.diag([SPACING, SPACING, SPACING, 1.0])
    affine[:3, 3] = [-96, -132, -78]
    return common_template(SHAPE, affine, "MNI152NLin2009cAsym", Config().replace("learning", slices=6).learning)


@pytest.fixture
def plan(template, tmp_path):
    """Twelve people whose maps differ in the left precuneus, where HC are higher."""
    planned, rng, paths = plan_comparison(), np.random.default_rng(0), []
    here = template.labels == index_of(template, "Precuneus_L")
    for row, label in enumerate(LABELS):
        values = np.where(template.brain, 1 + 0.1 * rng.standard_normal(SHAPE), 0) + here * (label == "HC")
        paths.append((tmp_path / f"map{row}.nii.gz",))
        nib.Nifti1Image(values.astype(np.float32), template.affine).to_filename(paths[-1][0])
    people = pd.DataFrame({"key": [f"made/sub-{row + 1:02d}" for row in range(len(LABELS))], "site": "one"})
    regions = rng.standard_normal((len(LABELS), len(template.atlas)))
    return SimpleNamespace(
        template=template,
        comparisons=(planned,),
        models=("googlenet",),
        maps={"reho": SimpleNamespace(regions=regions, hashes=())},
        cohort=SimpleNamespace(
            people=people, maps={"reho": tuple(paths)}, space="MNI152NLin2009cAsym", res="6", definitions={"reho": {}}
        ),
    )


def explain_group(folder, config, plan, experiments, folds):
    return write_explanations(folder, config, plan, experiments, folds, write_audit(folder, config, experiments, folds))


def index_of(template, name):
    return dict(zip(template.atlas.names, template.atlas.indices, strict=True))[name]


@pytest.fixture
def run(plan, tmp_path):
    """Both trials' maps: evidence for migraine lies in the left cuneus, and nobody of HC was classified correctly."""
    config = configure(tmp_path, tmp_path, permutations=3)
    experiments, folds = list_experiments(plan, config), tmp_path / "folds"
    space = SliceSpace(plan.template.geometry, plan.template.brain)
    hot = (plan.template.labels[space.inside] == index_of(plan.template, "Cuneus_L")).astype(np.float32)
    for experiment in (experiment for experiment in experiments if experiment.folds):
        places = np.concatenate([fold.test for fold in experiment.folds])
        labels = np.asarray(experiment.labels)[places]
        second = np.where(labels[:, None] == 1, hot, -hot)
        maps = np.stack([-second, second], axis=1)
        numbers = np.repeat([fold.number for fold in experiment.folds], [len(fold.test) for fold in experiment.folds])
        evidence = SaliencyMaps(places, labels, np.ones_like(labels), maps, numbers, experiment.folds[0].trial)
        for method in ("gradcam",):
            write_saliency(saliency_path(folds, experiment, method), evidence)
    null = permutation_path(folds, experiments[0], 0, "gradcam")
    np.save(null.with_suffix(".npy"), np.zeros((3, 1, len(plan.template.atlas))))
    write_json(null, {})
    return config, experiments, folds


def test_maps_regions_and_checks_are_written_where_the_report_finds_them(plan, run, tmp_path):
    config, experiments, folds = run
    folder = GroupFolder(tmp_path / "group")
    check = {"name": "a check", "of": "", "value": "", "limit": "", "passed": False, "detail": ""}
    write_json(
        checks_path(folds, experiments[0], "gradcam"), {"checks": [check], "passed": False, "sentence": "Beware."}
    )
    messages = explain_group(folder, config, plan, experiments, folds)
    assert [text for text in messages if "nobody of HC was classified correctly" in text]
    maps = {(one.kind, one.label): one for one in read_explained_maps(folder)}
    assert set(maps) == {
        ("class", "MWoA+MWA"),
        ("misclassified", "HC"),
        ("difference", "MWoA+MWA - HC"),
        ("agreement", "MWoA+MWA - HC"),
        ("univariate", "MWoA+MWA - HC"),
    }
    assert maps["misclassified", "HC"].predicted == "MWoA+MWA"
    difference = maps["difference", "MWoA+MWA - HC"]
    assert (difference.people, difference.warning, difference.model) == (12, "Beware.", "googlenet")
    values = nib.load(difference.path).get_fdata()
    x, y, z = nib.affines.apply_affine(plan.template.affine, np.argwhere(values == values.max()).mean(axis=0))
    assert (x < 0, -100 < y < -60, -5 < z < 45) == (True, True, True), "the left cuneus"
    assert json.loads((folder.file("audit.json")).read_text())["checks"] == [check]
    subjects = list(folder.file("explain/subjects").glob("*.nii.gz"))
    assert len(subjects) == 12
    table = pd.read_csv(folder.file("regions.tsv"), sep="\t", na_values="n/a").set_index("region")
    assert table.loc["Cuneus_L", ["rank", "fold_agreement", "hemisphere"]].tolist() == [1, 1.0, "left"]
    assert table.loc["Cuneus_L", ["p_permuted", "p_permuted_fwe"]].tolist() == [0.25, 0.25]
    assert table.loc["Postcentral_R", "p_permuted"] == 1.0
    assert table["p_fdr"].notna().sum() > 100


def test_the_plain_comparison_finds_what_differs_and_on_which_side(plan, run, tmp_path):
    config, experiments, folds = run
    folder = GroupFolder(tmp_path / "group")
    explain_group(folder, config, plan, experiments, folds)
    (found,) = [one for one in read_explained_maps(folder) if one.model == NO_MODEL]
    t = nib.load(found.path).get_fdata()
    here = plan.template.labels == index_of(plan.template, "Precuneus_L")
    shown = np.zeros_like(here)
    shown[..., list(plan.template.geometry.indices)] = True
    assert t[here & shown].max() < -5, "HC are higher, and the contrast is migraine less HC"
    there = plan.template.labels == index_of(plan.template, "Precuneus_R")
    assert abs(np.median(t[there & shown])) < 2
    assert found.threshold is not None


def test_thresholded_maps_keep_the_highest_values_alone(plan, run, tmp_path):
    config, experiments, folds = run
    folder = GroupFolder(tmp_path / "group")
    explain_group(folder, config.replace("explaining", cam_threshold=0.8), plan, experiments, folds)
    (raw,) = [one.path for one in read_explained_maps(folder) if one.kind == "difference"]
    cut = Path(str(raw).replace("desc-gradcam_", "desc-gradcamThresholded_"))
    values, kept = (nib.load(path).get_fdata() for path in (raw, cut))
    expected = np.where(np.abs(values) >= 0.8 * np.abs(values).max(), values, 0)
    np.testing.assert_allclose(kept, expected, atol=1e-6)


def test_a_run_without_maps_removes_those_of_an_earlier_one(plan, run, tmp_path):
    config, experiments, folds = run
    folder = GroupFolder(tmp_path / "group")
    explain_group(folder, config, plan, experiments, folds)
    explain_group(folder, config.replace("explaining", explain=False), plan, experiments, folds)
    assert not folder.file("regions.tsv").exists()
    assert not folder.file("explain").exists()


def test_labels_of_files_hold_what_bids_allows():
    assert label_of("timm:vit_tiny.augreg") == "timmvittinyaugreg"


def test_only_simulated_cohorts_with_an_effect_have_a_known_truth(tmp_path):
    maps, truth = tmp_path / "maps", tmp_path / "truth"
    content = {"EffectSize": 1.5, "Regions": ["Cuneus_L"], "LabelsShuffled": False}
    assert read_planted_effect(maps) is None
    write_json(maps / "dataset_description.json", {"GeneratedBy": [{"Name": "migxai-demo"}]})
    write_json(truth / "maps_effect.json", content)
    volume = np.zeros((3, 3, 3), dtype=np.float32)
    volume[0, 0, 0], volume[1, 1, 1] = 1.0, 0.3
    nib.Nifti1Image(volume, np.eye(4)).to_filename(truth / "maps_effect.nii.gz")
    found = read_planted_effect(maps)
    assert found is not None
    assert found.regions == ("Cuneus_L",)
    assert np.argwhere(found.voxels).tolist() == [[0, 0, 0]]
    write_json(truth / "maps_effect.json", content | {"LabelsShuffled": True})
    assert read_planted_effect(maps) is None
    write_json(truth / "maps_effect.json", content)
    write_json(maps / "dataset_description.json", {"GeneratedBy": [{"Name": "fMRIPrep"}]})
    assert read_planted_effect(maps) is None
