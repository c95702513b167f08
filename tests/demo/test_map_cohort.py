import dataclasses
import hashlib
import importlib
import json
import shutil
import subprocess
import sys
import types
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from migxai.cohort import read_maps
from migxai.cohort.datasets import MAP_COLUMNS
from migxai.demo import main
from migxai.demo.map_cohort import PROPORTIONS, make_groups, make_map_cohort
from migxai.demo.map_model import (
    FIELD,
    aal,
    effect_map,
    effect_names,
    field_of_view,
    ground,
    make_maps,
    random_field,
)
from migxai.demo.settings import MapSettings
from migxai.errors import OutputError, UsageError
from migxai.signal.maps import covered_means
from tests.demo_fixtures import TINY
from tests.map_fixtures import SUBJECTS, map_cohort

__all__ = ["map_cohort"]

RECIPE = MapSettings()


def _digests(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _fake_migxai(monkeypatch, *codes):
    calls, answers = [], iter(codes)
    fake = types.ModuleType("migxai.cli.main")
    fake.main = lambda argv: calls.append(argv) or next(answers)
    monkeypatch.setitem(sys.modules, "migxai.cli.main", fake)
    return calls


def test_maps_are_read_as_any_other_dataset(map_cohort):
    table = read_maps(map_cohort)
    assert len(table) == 3 * SUBJECTS
    assert set(table["indicator"]) == {"alff", "reho", "rfcs"}
    assert set(table["form"]) == {"mean"}
    assert set(table["space"]) == {"MNI152NLin2009cAsym"}
    assert not table["excluded"].any()
    columns = ["group", "age", "sex", "education", "HAMD24", "HAMA14", "site", "mean_fd"]
    assert list(table.columns) == [*MAP_COLUMNS, *columns]
    assert table[columns].notna().all(axis=None)
    people = table.drop_duplicates("participant_id")
    assert pd.crosstab(people["group"], people["site"]).min(axis=None) >= 2
    for path in table["path"]:
        sidecar = json.loads(Path(str(path).replace(".nii.gz", ".json")).read_text())
        assert sidecar["Description"].startswith("Simulated")
        assert sidecar["Resolution"] == "3 mm isotropic"
        assert sidecar["GeneratedBy"]["Name"] == "migxai-demo"


def test_maps_lie_on_the_participant_levels_grid_and_cover_their_mask(map_cohort):
    for _, row in read_maps(map_cohort).iterrows():
        image = nib.load(row["path"])
        assert image.shape == (65, 77, 65)
        np.testing.assert_array_equal(image.affine[:, 3], (-96, -132, -78, 1))
        assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
        values = np.asarray(image.dataobj)
        mask = next(map_cohort.glob(f"{row['participant_id']}/func/*_desc-brain_mask.nii.gz"))
        covered = np.asarray(nib.load(mask).dataobj) > 0
        if row["indicator"] == "rfcs":
            assert np.isin(np.unique(ground().labels[values != 0]), aal().indices).all()
            continue
        np.testing.assert_array_equal(values != 0, covered)
        assert np.isfinite(values).all()
        # The effect is added to a map of mean 1.
        assert 0.999 < values[covered].mean() < 1.05


def test_dataset_is_valid_bids(map_cohort):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed")
    run = subprocess.run([validator, map_cohort], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert "[ERROR]" not in run.stdout


def test_same_seed_same_bytes_going_on_makes_only_what_is_missing(map_cohort, tmp_path):
    expected = _digests(map_cohort)
    copy = tmp_path / "demo"
    shutil.copytree(map_cohort.parent, copy)
    for path in (copy / "maps/sub-03/func").glob("*rfcs*"):
        path.unlink()
    untouched = copy / "maps/sub-02/func/sub-02_task-rest_space-MNI152NLin2009cAsym_res-3_stat-alff_boldmap.nii.gz"
    before = untouched.stat().st_mtime_ns
    dataset = make_map_cohort(copy, subjects=SUBJECTS, sites=2)
    assert _digests(dataset) == expected
    assert untouched.stat().st_mtime_ns == before


def test_a_subject_does_not_depend_on_the_others_or_on_other_indicators(map_cohort, tmp_path):
    few = make_map_cohort(tmp_path / "few", subjects=3, sites=2, indicators=("reho",))
    name = "sub-03/func/sub-03_task-rest_space-MNI152NLin2009cAsym_res-3_stat-reho_boldmap.nii.gz"
    assert (few / name).read_bytes() == (map_cohort / name).read_bytes()
    rows = pd.read_csv(map_cohort / "participants.tsv", sep="\t").iloc[:3]
    pd.testing.assert_frame_equal(pd.read_csv(few / "participants.tsv", sep="\t"), rows)
    other = make_map_cohort(tmp_path / "other", subjects=3, sites=2, seed=1)
    assert (other / name).read_bytes() != (map_cohort / name).read_bytes()


def test_other_directories_and_settings_are_refused(map_cohort, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not a demo"):
        make_map_cohort(tmp_path)
    with pytest.raises(OutputError, match="another effect_size"):
        make_map_cohort(map_cohort.parent, subjects=SUBJECTS, sites=2, effect_size=0.5)
    with pytest.raises(OutputError, match="more than the 4"):
        make_map_cohort(map_cohort.parent, subjects=4, sites=2)
    for wrong, says in (
        ({"effect_regions": ("Cuneus", "Atlantis")}, "No AAL region begins with 'Atlantis'"),
        ({"indicators": ("falff",)}, "not falff"),
        ({"indicators": ()}, "none at all"),
        ({"sites": 0}, "not 0"),
    ):
        with pytest.raises(UsageError, match=says):
            make_map_cohort(tmp_path / "new", **wrong)


def test_groups_have_the_papers_proportions():
    groups = make_groups(64)
    assert {group: groups.count(group) for group in PROPORTIONS} == PROPORTIONS
    for number in range(1, 65):
        for group, share in PROPORTIONS.items():
            assert abs(make_groups(number).count(group) - number * share / 64) < 1


@pytest.mark.parametrize("stat", ["alff", "reho", "rfcs"])
def test_the_truth_is_what_the_effect_adds(map_cohort, stat):
    """Field by field: the same person with and without the effect."""
    truth = nib.load(map_cohort.parent / f"truth/maps_effect_stat-{stat}.nii.gz").get_fdata()
    recipe = dataclasses.replace(RECIPE, indicators=(stat,))
    for number in (1, 2):
        without, covered = make_maps(recipe, number, share=0.0)
        inside = (covered if stat != "rfcs" else truth != 0) & (without[stat] > 0.1)
        for share in (1.0, 1.5):
            added = make_maps(recipe, number, share=share)[0][stat] - without[stat]
            np.testing.assert_allclose(added[inside], share * truth[inside], atol=1e-5)
    regions = nib.load(map_cohort.parent / "truth/maps_effect.nii.gz").get_fdata()
    assert regions.max() == pytest.approx(1)


def test_voxels_differ_between_groups_by_the_effect_size_stated():
    """Cohen's d over many people where the effect is full, and nowhere else."""
    recipe = dataclasses.replace(RECIPE, indicators=("reho",))
    groups = [
        np.stack([make_maps(recipe, n, share=s)[0]["reho"] for n in ns])
        for s, ns in ((0, range(1, 61)), (1, range(61, 121)))
    ]
    always = np.all([maps != 0 for group in groups for maps in group], axis=0)
    pooled = np.sqrt((groups[0].var(axis=0, ddof=1) + groups[1].var(axis=0, ddof=1)) / 2)
    d = np.divide(groups[1].mean(axis=0) - groups[0].mean(axis=0), pooled, where=always, out=np.zeros(always.shape))
    where = effect_map(recipe.effect_regions, "reho")
    assert d[always & (where > 0.9)].mean() == pytest.approx(1.5, abs=0.2)
    assert abs(d[always & (where == 0)].mean()) < 0.1
    np.testing.assert_allclose(pooled[always].mean(), ground().spread["reho"][always].mean(), rtol=0.05)


def test_the_effect_is_on_the_side_it_was_planted():
    left = effect_map(("Precuneus_L",), "reho")
    x = nib.affines.apply_affine(ground().affine, np.argwhere(left > 0.5))[:, 0]
    assert (x < 3).all()
    recipe = dataclasses.replace(RECIPE, effect_regions=("Frontal_Mid_L",), indicators=("reho",))
    added = make_maps(recipe, 1, share=1.0)[0]["reho"] - make_maps(recipe, 1, share=0.0)[0]["reho"]
    world = nib.affines.apply_affine(ground().affine, np.argwhere(added > 0.1))
    assert (world[:, 0] < 0).all()
    assert world[:, 1].mean() > 10


def test_prefixes_name_regions():
    assert effect_names(("Cuneus", "Precuneus")) == ("Cuneus_L", "Cuneus_R", "Precuneus_L", "Precuneus_R")
    assert effect_names(()) == ()
    assert not effect_map((), "alff").any()


def test_without_an_effect_groups_differ_by_chance_alone():
    recipe = dataclasses.replace(RECIPE, effect_size=0.0)
    for stat, values in make_maps(recipe, 5, share=1.5)[0].items():
        np.testing.assert_array_equal(values, make_maps(recipe, 5, share=0.0)[0][stat])


def test_shuffled_labels_leave_the_maps_and_the_proportions(map_cohort, tmp_path):
    dataset = make_map_cohort(
        tmp_path / "shuffled", subjects=SUBJECTS, sites=2, shuffle_labels=True, indicators=("rfcs",)
    )
    name = "sub-03/func/sub-03_task-rest_space-MNI152NLin2009cAsym_res-3_stat-rfcs_boldmap.nii.gz"
    assert (dataset / name).read_bytes() == (map_cohort / name).read_bytes()
    labels, shuffled = (pd.read_csv(root / "participants.tsv", sep="\t") for root in (map_cohort, dataset))
    assert sorted(labels["group"]) == sorted(shuffled["group"])
    assert list(labels["group"]) != list(shuffled["group"])
    truth = json.loads((tmp_path / "shuffled/truth/maps_effect.json").read_text())
    assert list(truth["GroupOfEffect"].values()) == list(labels["group"])
    assert "SHUFFLED" in (dataset / "README").read_text()


def test_random_fields_have_the_variance_and_smoothness_asked_for():
    for width, variance in FIELD.items():
        fields = [random_field(np.random.default_rng(seed), (width,)) for seed in range(4)]
        assert np.mean([field.var() for field in fields]) == pytest.approx(variance, rel=0.15)
        # White noise smoothed by a Gaussian has the correlation exp(-r^2 / (4 sigma^2)) at the distance r.
        sigma = width / np.sqrt(8 * np.log(2))
        lagged = np.mean([np.corrcoef(f[1:].ravel(), f[:-1].ravel())[0, 1] for f in fields])
        assert lagged == pytest.approx(np.exp(-(3.0**2) / (4 * sigma**2)), abs=0.05)


def test_fields_of_view_are_ragged_but_leave_most_of_the_brain():
    brain = ground().brain
    shares = []
    for seed in range(60):
        covered = field_of_view(np.random.default_rng(seed))
        assert not (covered & ~brain).any()
        shares.append(covered.sum() / brain.sum())
    shares = np.array(shares)
    assert 0.35 < (shares == 1).mean() < 0.75
    assert shares.min() > 0.85


def test_rfcs_is_one_number_a_region_and_missing_where_it_is_not_covered():
    indices = np.array(aal().indices)
    seen_missing = False
    for number in range(1, 25):
        maps, covered = make_maps(dataclasses.replace(RECIPE, indicators=("rfcs",)), number, share=0.0)
        means, coverage = covered_means(np.nan_to_num(maps["rfcs"]), ground().labels, indices, covered)
        for index, share in zip(indices, coverage, strict=True):
            values = maps["rfcs"][ground().labels == index]
            assert np.isnan(values).all() if share < 0.5 else np.unique(values).size == 1
            seen_missing |= share < 0.5
        assert 0.1 < np.nanmean(means) < 0.5
    assert seen_missing


def test_main_makes_maps_and_runs_the_group_level(tmp_path, monkeypatch, capsys):
    calls = _fake_migxai(monkeypatch, 0)
    root = tmp_path / "demo"
    options = ["--maps", "--subjects", "3", "--effect-region", "Insula_L"]
    assert main([str(root), *options, "--", "--nprocs", "1", "--models", "svm"]) == 0
    ours = ["--weights", "random", "--trials", "1"]
    assert calls == [[str(root / "maps"), str(root / "migxai"), "group", *ours, "--nprocs", "1", "--models", "svm"]]
    out = capsys.readouterr().out
    assert "effect is planted: maps in Insula_L are higher by 1.5" in out
    assert "says nothing about migraine" in out
    assert json.loads((root / "truth/maps_effect.json").read_text())["Regions"] == ["Insula_L"]
    assert main([str(root), *options, "--data-only"]) == 0
    assert len(calls) == 1


@pytest.mark.parametrize(("subjects", "codes", "levels"), [(5, (0, 3), 2), (5, (1,), 1), (4, (0,), 1)])
def test_main_runs_both_levels_on_images_if_there_are_enough(tmp_path, monkeypatch, capsys, subjects, codes, levels):
    calls = _fake_migxai(monkeypatch, *codes)
    # By its name, the package's attribute is the function or the module, whichever was there last.
    module = importlib.import_module("migxai.demo.main")
    monkeypatch.setattr(module, "SMALL", TINY)
    monkeypatch.setattr(module, "make_cohort", lambda root, recipe, count: iter(["sub-01"]))
    root = tmp_path / "demo"
    assert main([str(root), "--small", "--subjects", str(subjects), "--", "--folds=3"]) == codes[-1]
    assert [call[2] for call in calls] == ["participant", "group"][:levels]
    if levels == 2:
        assert calls[1][:3] == [str(root / "migxai"), str(root / "migxai"), "group"]
        assert "--comparison hc_vs_migraine=HC:MWoA+MWA --trials 1" in " ".join(calls[1])
        assert calls[1][-1] == "--folds=3"
        assert "--folds" not in calls[1]
    assert ("left out" in capsys.readouterr().out) == (subjects == 4)


@pytest.mark.parametrize("argv", [["x", "--maps", "--small"], ["x", "--effect-region", "Insula"]])
def test_options_that_do_not_fit_together_end_with_2(argv):
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2


def test_a_region_that_does_not_exist_ends_with_2(tmp_path, capsys):
    assert main([str(tmp_path / "demo"), "--maps", "--effect-region", "Atlantis"]) == 2
    assert "No AAL region begins with 'Atlantis'" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
