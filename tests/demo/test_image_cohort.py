import dataclasses
import hashlib
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
from scipy import ndimage

from migxai.data import load_atlas, template
from migxai.demo import main
from migxai.demo.bold import Activity, acquire, make_activity, make_motion, still_head
from migxai.demo.head import EFFECT_REGIONS, apply, head, make_anatomy, region_maps, rigid, sample
from migxai.demo.image_cohort import make_cohort, make_participant
from migxai.demo.settings import SMALL, DemoSettings
from migxai.errors import OutputError
from tests.demo_fixtures import TINY, build_demo


def _digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_same_bytes_and_resuming_redoes_only_what_is_missing(demo_tiny, tmp_path):
    expected = _digests(demo_tiny)
    copy = tmp_path / "demo"
    shutil.copytree(demo_tiny, copy)
    (copy / "truth/sub-02/truth.json").unlink()
    (copy / "raw/sub-02/func/sub-02_task-rest_bold.nii.gz").unlink()
    untouched = copy / "raw/sub-01/func/sub-01_task-rest_bold.nii.gz"
    before = untouched.stat().st_mtime_ns
    build_demo(copy, TINY, 2)
    assert _digests(copy) == expected
    assert untouched.stat().st_mtime_ns == before


def test_another_seed_gives_another_head_and_a_subject_does_not_depend_on_the_others(demo_tiny, tmp_path):
    other = build_demo(tmp_path / "other", dataclasses.replace(TINY, seed=1), 1)
    alone = build_demo(tmp_path / "alone", TINY, 1)
    image = "raw/sub-01/func/sub-01_task-rest_bold.nii.gz"
    assert (other / image).read_bytes() != (demo_tiny / image).read_bytes()
    assert (alone / image).read_bytes() == (demo_tiny / image).read_bytes()


def test_a_foreign_directory_is_refused(demo_tiny, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert main([str(tmp_path), "--data-only"]) == 2
    assert "exists and is not a demo" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(OutputError, match="another seed"):
        next(iter(make_cohort(demo_tiny, dataclasses.replace(TINY, seed=5), 2)))
    with pytest.raises(OutputError, match="more than the 1"):
        next(iter(make_cohort(demo_tiny, TINY, 1)))


def test_participants(demo_tiny):
    table = pd.read_csv(demo_tiny / "raw/participants.tsv", sep="\t")
    described = json.loads((demo_tiny / "raw/participants.json").read_text())
    assert list(table.columns) == ["participant_id", *described]
    assert list(table["participant_id"]) == ["sub-01", "sub-02"]
    assert list(table["group"]) == ["HC", "MWoA"]
    many = pd.DataFrame([dataclasses.asdict(make_participant(n, 0)) for n in range(1, 65)])
    assert many["group"].value_counts().to_dict() == {"HC": 32, "MWoA": 16, "MWA": 16}
    assert pd.crosstab(many["group"], many["site"]).nunique(axis=1).eq(1).all()
    assert many["age"].between(18, 60).all()


def test_dataset_is_valid_bids(demo_tiny):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed")
    run = subprocess.run([validator, demo_tiny / "raw"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert "[ERROR]" not in run.stdout


def test_headers_agree_with_sidecars(demo_tiny):
    name = demo_tiny / "raw/sub-01/func/sub-01_task-rest_bold"
    image, sidecar = nib.load(f"{name}.nii.gz"), json.loads(Path(f"{name}.json").read_text())
    assert image.header.get_zooms()[3] == sidecar["RepetitionTime"] == 2.0
    assert len(sidecar["SliceTiming"]) == image.shape[2]
    assert max(sidecar["SliceTiming"]) < 2.0
    assert nib.aff2axcodes(image.affine) == ("L", "A", "S")


def test_landmarks_deformation_and_mask_agree(demo_tiny):
    truth = demo_tiny / "truth/sub-01"
    mni, t1w, bold = (np.load(truth / f"landmarks_{name}.npy") for name in ("mni", "t1w", "bold"))
    to_t1w = np.array(json.loads((truth / "truth.json").read_text())["BoldToT1w"])
    np.testing.assert_allclose(nib.affines.apply_affine(to_t1w, bold), t1w, atol=1e-9)
    field = nib.load(truth / "t1w_to_mni.nii.gz")
    voxels = nib.affines.apply_affine(np.linalg.inv(field.affine), t1w).T
    shift = np.stack([ndimage.map_coordinates(axis, voxels, order=1) for axis in np.moveaxis(field.get_fdata(), -1, 0)])
    assert np.linalg.norm(t1w + shift.T - mni, axis=1).max() < 0.15
    mask = nib.load(truth / "brain_mask.nii.gz")
    inside = nib.affines.apply_affine(np.linalg.inv(mask.affine), t1w)
    assert mask.get_fdata()[tuple(np.rint(inside).astype(int).T)].mean() > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_deformations_are_one_to_one(seed):
    anatomy = make_anatomy(np.random.default_rng(seed))
    points = np.random.default_rng(1).uniform(-70, 70, (3, 3000))
    np.testing.assert_allclose(anatomy.to_mni(anatomy.from_mni(points)), points, atol=1e-3)
    step = 0.5
    columns = [anatomy.to_mni(points + step * axis[:, None]) - anatomy.to_mni(points) for axis in np.eye(3)]
    assert np.linalg.det(np.stack(columns, axis=-1).transpose(1, 0, 2) / step).min() > 0.1


def _scene(seed=3, **changes):
    recipe = dataclasses.replace(TINY, **{"bold_voxel": (5.0, 5.0, 5.0), "bold_shape": (40, 48, 32), **changes})
    rng = np.random.default_rng(seed)
    return recipe, make_anatomy(rng), rigid(rng.uniform(-3, 3, 3), rng.uniform(-4, 4, 3)), rng


def test_true_motion_undoes_the_motion():
    recipe, anatomy, to_t1w, rng = _scene(volumes=24)
    motion, _ = make_motion(recipe, np.array([0.0, -20.0, 10.0]), rng, excessive=True)
    still = still_head(anatomy, to_t1w, recipe, rng)
    series = acquire(still, None, motion, recipe, rng, thermal=0)
    affine = recipe.bold_affine()
    # Volumes 10 and 23 are steady: they differ by the motion alone.
    chain = np.linalg.inv(affine) @ motion[23] @ np.linalg.inv(motion[10]) @ affine
    back = ndimage.affine_transform(series[..., 23], chain[:3, :3], chain[:3, 3], order=5)
    brain = ndimage.binary_erosion(series[..., 10] > 300, iterations=2)
    moved = np.std((series[..., 23] - series[..., 10])[brain])
    assert np.std((back - series[..., 10])[brain]) < 0.3 * moved


def test_motion_stays_within_bounds_unless_it_is_meant_to_be_excluded():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        motion, parameters = make_motion(DemoSettings(), np.zeros(3), rng)
        np.testing.assert_allclose(motion[0], np.eye(4), atol=1e-12)
        assert np.abs(parameters).max() <= 1.5
        _, wild = make_motion(DemoSettings(), np.zeros(3), rng, excessive=True)
        assert np.abs(wild[:, :3]).max() > 2
        assert np.abs(wild[:, 3:]).max() > 2


def test_each_slice_is_sampled_at_its_own_time():
    recipe, anatomy, to_t1w, rng = _scene(volumes=20)
    still = still_head(anatomy, to_t1w, recipe, rng)
    frequency = 0.05
    maps = np.zeros((*recipe.bold_shape, 10), dtype=np.float32)
    maps[..., 1] = 0.01  # the sine of the only frequency
    clock = np.arange(0, 100.0)
    activity = Activity(maps, np.array([frequency]), clock, clock, clock)
    series = acquire(still, activity, np.repeat(np.eye(4)[None], 20, axis=0), recipe, rng, thermal=0)
    steady = acquire(still, None, np.repeat(np.eye(4)[None], 20, axis=0), recipe, rng, thermal=0)
    middle = tuple(n // 2 for n in recipe.bold_shape[:2])
    for z, offset in list(enumerate(recipe.slice_times()))[15:25]:
        expected = 0.01 * np.sin(2 * np.pi * frequency * (np.arange(20) * 2.0 + offset))
        np.testing.assert_allclose(series[middle][z] / steady[middle][z] - 1, expected, atol=1e-5)


def test_first_volumes_are_not_steady():
    recipe, anatomy, to_t1w, rng = _scene(volumes=12)
    still = still_head(anatomy, to_t1w, recipe, rng)
    series = acquire(still, None, np.repeat(np.eye(4)[None], 12, axis=0), recipe, rng, thermal=0)
    mean = series[series[..., -1] > 300].mean(axis=0)
    assert mean[0] > 1.1 * mean[-1]
    assert abs(mean[8] / mean[-1] - 1) < 1e-4


def _amplitude_and_coherence(gain):
    """In-band amplitude (percent) and coherence with neighbours of a subject whose networks have this gain."""
    recipe, anatomy, to_t1w, _ = _scene(volumes=80)
    voxels = np.indices(recipe.bold_shape).reshape(3, -1)
    mni = anatomy.to_mni(apply(to_t1w @ recipe.bold_affine(), voxels)).reshape(3, *recipe.bold_shape)
    still = still_head(anatomy, to_t1w, recipe, np.random.default_rng(7))
    activity = make_activity(anatomy, to_t1w, recipe, gain, np.random.default_rng(8))
    motion = np.repeat(np.eye(4)[None], recipe.volumes, axis=0)
    series = acquire(still, activity, motion, recipe, np.random.default_rng(9))[..., 10:]
    brain = sample(head(), head().brain, mni) > 0.5
    relative = np.zeros_like(series)
    relative[brain] = series[brain] / series[brain].mean(axis=-1, keepdims=True) - 1
    drift = np.linalg.qr(np.vander(np.arange(series.shape[-1]), 5))[0]
    spectrum = np.fft.rfft(relative - relative @ drift @ drift.T, axis=-1)
    frequency = np.fft.rfftfreq(series.shape[-1], 2.0)
    spectrum[..., (frequency < 0.01) | (frequency > 0.08)] = 0
    band = np.fft.irfft(spectrum, series.shape[-1], axis=-1)
    standard = band / np.maximum(band.std(axis=-1, keepdims=True), 1e-9)
    coherence = ndimage.uniform_filter(standard, (3, 3, 3, 0)).var(axis=-1)
    return (
        band.std(axis=-1) * 100,
        coherence,
        {
            "grey": sample(head(), head().gm, mni) > 0.7,
            "white": sample(head(), head().wm, mni) > 0.9,
            "effect": (sample(head(), region_maps()[1], mni) > 0.5) & (sample(head(), head().gm, mni) > 0.5),
        },
    )


def test_grey_matter_is_livelier_than_white_and_the_effect_is_where_it_was_planted():
    amplitude, coherence, where = _amplitude_and_coherence(0.0)
    assert amplitude[where["grey"]].mean() > 1.4 * amplitude[where["white"]].mean()
    assert coherence[where["grey"]].mean() > 1.3 * coherence[where["white"]].mean()
    raised, closer, _ = _amplitude_and_coherence(1.0)
    elsewhere = where["grey"] & ~ndimage.binary_dilation(where["effect"], iterations=4)
    assert raised[where["effect"]].mean() > 1.2 * amplitude[where["effect"]].mean()
    assert closer[where["effect"]].mean() > 1.1 * coherence[where["effect"]].mean()
    np.testing.assert_allclose(raised[elsewhere].mean(), amplitude[elsewhere].mean(), rtol=0.01)


def test_effect_map_covers_its_regions():
    atlas = load_atlas()
    effect = region_maps()[1]
    for name in EFFECT_REGIONS:
        voxels = np.argwhere(atlas.data == atlas.indices[atlas.names.index(name)])
        mni = nib.affines.apply_affine(atlas.affine, voxels).T
        assert sample(head(), effect, mni).mean() > 0.5
    # The head's grid and the template's agree voxel by voxel.
    mask = nib.load(template("mask"))
    world = nib.affines.apply_affine(mask.affine, np.argwhere(mask.get_fdata() > 0)).T
    assert sample(head(), head().brain, world).min() > 0.999


def test_small_leaves_enough_volumes_for_the_default_nuisance_model():
    kept = SMALL.volumes - 10
    in_band = 2 * np.sum((np.fft.rfftfreq(kept, 2.0) >= 0.01) & (np.fft.rfftfreq(kept, 2.0) <= 0.08))
    assert in_band - 26 >= 10


@pytest.mark.parametrize(("code", "data_only"), [(0, False), (1, False), (0, True)])
def test_main_runs_the_participant_level_and_hands_options_on(
    demo_tiny, tmp_path, monkeypatch, capsys, code, data_only
):
    calls = []
    fake = types.ModuleType("migxai.cli.main")
    fake.main = lambda argv: calls.append(argv) or code
    monkeypatch.setitem(sys.modules, "migxai.cli.main", fake)
    monkeypatch.setattr("migxai.demo.main.SMALL", TINY)
    root = tmp_path / "demo"
    shutil.copytree(demo_tiny, root)
    options = ["--data-only"] if data_only else ["--", "--nprocs", "1"]
    assert main([str(root), "--small", "--subjects", "2", *options]) == code
    expected = [[str(root / "raw"), str(root / "migxai"), "participant", "--nprocs", "1"]]
    assert calls == ([] if data_only else expected)
    assert data_only or "effect is planted" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["x", "--subjects", "0"], ["x", "--seed", "-1"], ["x", "--nonsense"], []])
def test_usage_errors_end_with_2(argv):
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
