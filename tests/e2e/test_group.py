"""The group level through the command line, on made-up maps, with the network blocked."""

from __future__ import annotations

import getpass
import gzip
import hashlib
import json
import re
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest
from sklearn import metrics as reference

from migxai.cohort.maps import content_hash
from migxai.learning import load_model
from tests.e2e.conftest import run
from tests.e2e.group_runs import (
    BARE,
    DEEP,
    NETWORKS,
    QUICK,
    TABLES,
    GroupRun,
    everything,
    kill_group,
    map_of,
    maps,
    read_table,
    start,
    wait_for,
)
from tests.map_fixtures import map_cohort

__all__ = ["map_cohort", "maps"]

pytestmark = pytest.mark.xdist_group("e2e_group")

UNIT = ["comparison", "indicator", "model"]
CLASSES = {"hc_vs_migraine": ["HC", "MWoA+MWA"], "hc_vs_mwoa_vs_mwa": ["HC", "MWoA", "MWA"]}


@pytest.fixture(scope="session")
def finished(maps, no_network, tmp_path_factory) -> GroupRun:
    """A network and a baseline, on one CPU."""
    pytest.importorskip("torch", reason="networks need migxai[torch]")
    output = tmp_path_factory.mktemp("finished") / "out"
    code, text = run(maps, output, "group", *DEEP, "--nprocs", "1", env=no_network)
    return GroupRun(maps, output, code, text)


@pytest.fixture
def copied(finished, tmp_path) -> GroupRun:
    """The finished run's output, to be changed."""
    return GroupRun(finished.dataset, shutil.copytree(finished.output, tmp_path / "out"), 0, "")


def description(output: Path) -> dict:
    return json.loads((output / "group" / "description.json").read_text())


def test_everything_promised_is_there(finished):
    assert finished.code == 0, finished.text
    assert description(finished.output)["State"] == "complete"
    assert description(finished.output)["Failures"] == []
    for name in (*TABLES, "predictions_slices"):
        assert len(finished.table(name)) > 0, name
    scores = json.loads((finished.output / "group" / "metrics.json").read_text())
    assert len(scores["units"]) == 2 * (4 + 1), "four models by subject, and the network by slice, on two comparisons"
    assert not (finished.output / ".work").exists(), "the work directory is removed"
    assert not (finished.output / ".locks").exists()
    assert "group" in (finished.output / ".bidsignore").read_text().split()
    steps = re.findall(r"done \((\d+) of (\d+)\)", finished.text)
    assert steps
    assert [step for step, _ in steps] == [str(1 + place) for place in range(int(steps[0][1]))], (
        "progress ends at its end"
    )


def test_models_can_be_loaded_and_say_what_they_are(finished):
    paths = sorted((finished.output / "group" / "models").glob("*.safetensors"))
    assert len(paths) == 2 * 2 * (6 + 1), "one of each fold and one of everybody, but for baselines that always run"
    for path in paths:
        saved = load_model(path)
        assert list(saved.card.classes) == CLASSES[saved.card.comparison]
        assert saved.card.indicator == "reho"
        assert "NOT a diagnostic device" in path.with_suffix(".md").read_text()
        assert json.loads(path.with_suffix(".json").read_text()) == json.loads(json.dumps(saved.card.to_dict()))


def test_nothing_tells_of_the_machine(finished):
    secrets = [str(finished.dataset), tempfile.gettempdir(), socket.gethostname(), str(Path.home())]
    if getpass.getuser() != "root":  # the word also stands for the root of a tree
        secrets.append(getpass.getuser())
    checked = 0
    for path in finished.output.rglob("*"):
        if path.is_dir() or path.suffix == ".npy":  # numbers, whose header numpy wrote
            continue
        content = path.read_bytes()
        if path.suffix == ".safetensors":
            content = content[8 : 8 + int.from_bytes(content[:8], "little")]
        if path.suffix == ".gz":
            assert content[4:8] == bytes(4), "gzip's header holds no time"
            content = gzip.decompress(content)[:352]  # what follows a NIfTI's header is numbers
        if path.suffix == ".png":
            content = content.partition(b"IDAT")[0]
        text = content.decode("latin-1" if path.suffix in (".gz", ".png") else "utf-8")
        text = re.sub(r"[\w+/=]{200,}", "", text)  # pictures and numbers in base 64, where any short word may turn up
        checked += 1
        for secret in secrets:
            assert not re.search(rf"(?<!\w){re.escape(secret)}(?!\w)", text), (path, secret)
        assert time.strftime("%Y-%m-%d") not in text, path
    assert checked > 100


def test_maps_of_the_network_lie_in_the_brain_with_their_regions(finished):
    folder = finished.output / "group" / "explain"
    sidecars = {path: json.loads(path.read_text()) for path in sorted(folder.rglob("*.json"))}
    for path, content in sidecars.items():
        image = nib.load(path.with_name(path.name.replace(".json", ".nii.gz")))
        assert image.shape == nib.load(map_of(finished.dataset, "01")).shape, path.name
        assert np.isfinite(image.get_fdata()).all(), path.name
        assert content["Comparison"] in CLASSES
    kinds = [content["Kind"] for content in sidecars.values() if "Kind" in content]
    assert kinds.count("univariate") == 1 + 3
    assert kinds.count("difference") == kinds.count("agreement") == 2 * (1 + 3), "Grad-CAM and fused layers"
    assert kinds.count("subject") == 2 * 2 * 16, "everybody, in either comparison"
    table = finished.table("regions")
    assert set(table["contrast"]) == {"MWoA+MWA - HC", "MWoA - HC", "MWA - HC", "MWA - MWoA"}
    assert set(table["method"]) == {"Grad-CAM", "fused layers"}
    assert (table.groupby(["comparison", "contrast", "method"])["rank"].min() == 1).all()
    assert table["fold_agreement"].between(0, 1).sum() > 100
    assert table["p_permuted"].isna().all(), "no labels were permuted"
    assert table.loc[table["region"] == "Precuneus_L", "paper"].all()


@pytest.mark.slow
def test_what_checks_found_is_kept_stamped_on_maps_and_can_end_a_run_with_its_own_code(maps, no_network, tmp_path):
    pytest.importorskip("torch", reason="networks need migxai[torch]")
    arguments = [*QUICK, "--models", "googlenet", "--weights", "random", "--augmentations", "1", "--epochs", "2"]
    code, text = run(maps, tmp_path / "out", "group", *arguments, "--strict", env=no_network)
    assert code == 4, text
    assert "Check failed: " in text, "two epochs on sixteen people teach nobody anything"
    group = tmp_path / "out" / "group"
    checks = json.loads((group / "audit.json").read_text())["checks"]
    assert all(check["passed"] in (True, False, None) for check in checks)
    assert any(check["passed"] is False for check in checks)
    (path,) = (group / "explain").glob("*comparison-hcvsmigraine*MinusHC_*_desc-gradcam_boldmap.json")
    assert "Not to be interpreted" in json.loads(path.read_text())["Warning"]
    assert "Not to be interpreted" in (group / "report.html").read_text()


def test_the_report_says_what_came_out(finished):
    page = (finished.output / "group" / "report.html").read_text()
    assert "Simulated" in page or "simulated" in page
    assert "not a diagnostic" in page.lower()
    assert not re.findall(r"""(?:src|href)=["']https?://(?!doi\.org)""", page), "nothing is loaded from elsewhere"


def test_each_person_is_tested_once_a_trial(finished):
    cohort, folds = finished.table("cohort"), finished.table("folds")
    assert (cohort["included"] == "yes").all()
    predictions = finished.table("predictions")
    keys = dict(zip(cohort["dataset"] + "/" + cohort["participant_id"], cohort["group"], strict=True))
    assert len(keys) == 16
    for (*_, trial), rows in predictions.groupby([*UNIT, "trial"]):
        assert trial in (1, 2)
        assert sorted(rows["subject"]) == sorted(keys)
        merged = rows["label"].map(lambda label: label.split("+"))
        assert all(keys[subject] in groups for subject, groups in zip(rows["subject"], merged, strict=True))
    where = folds.assign(subject=folds["dataset"] + "/" + folds["participant_id"])[
        ["comparison", "trial", "fold", "subject"]
    ]
    for _, rows in predictions.groupby(["indicator", "model"]):
        tested = rows[["comparison", "trial", "fold", "subject"]]
        assert set(tested.itertuples(index=False)) == set(where.itertuples(index=False)), (
            "folds.tsv says who was tested"
        )
    slices = finished.table("predictions_slices")
    assert set(slices["model"]) == {"googlenet"}
    counts = slices.groupby([*UNIT, "trial", "subject"])["slice"].apply(list)
    assert all(numbers == [1, 2, 3, 4] for numbers in counts)
    means = slices.groupby([*UNIT, "trial", "subject"])["p[HC]"].mean()
    whole = predictions.set_index([*UNIT, "trial", "subject"])["p[HC]"]
    np.testing.assert_allclose(means, whole.loc[means.index], atol=2e-6)


def test_no_model_has_seen_whom_it_is_tested_on(finished):
    """A card's digest of its training maps is that of everybody but the test subjects of its fold."""
    digests = {
        f"sub-{number:02d}": content_hash([map_of(finished.dataset, f"{number:02d}")]) for number in range(1, 17)
    }
    folds = finished.table("folds")
    for path in (finished.output / "group" / "models").glob("*_fold-*.safetensors"):
        card = load_model(path).card
        trial, fold = map(int, re.search(r"trial-(\d+)_fold-(\d+)$", path.stem).groups())
        chosen = (folds["comparison"] == card.comparison) & (folds["trial"] == trial) & (folds["fold"] == fold)
        tested = set(folds["participant_id"][chosen])
        assert len(tested) in (5, 6)
        learned = "".join(digests[label] for label in sorted(digests) if label not in tested)
        assert card.inputs["maps"] == hashlib.sha256(learned.encode()).hexdigest()
        assert card.cohort["n"] == 16 - len(tested)


def test_scores_follow_from_the_predictions_as_scikit_learn_has_them(finished):
    predictions = finished.table("predictions")
    scores = finished.table("metrics")
    checked = 0
    for (comparison, _, model), rows in predictions.groupby(UNIT):
        classes = CLASSES[comparison]
        values: dict[str, list[float]] = {}
        for _, trial in rows.groupby("trial"):
            true, said = trial["label"], trial["predicted"]
            p = trial[[f"p[{name}]" for name in classes]].to_numpy()
            places = np.array([classes.index(label) for label in true])
            found = {
                "accuracy": reference.accuracy_score(true, said),
                "balanced_accuracy": reference.balanced_accuracy_score(true, said),
                "f1_macro": reference.f1_score(true, said, average="macro", labels=classes),
                "f1_weighted": reference.f1_score(true, said, average="weighted", labels=classes),
                "recall[HC]": reference.recall_score(true, said, labels=["HC"], average="macro"),
                "brier": np.mean(((p - np.eye(len(classes))[places]) ** 2).sum(axis=1)),
            }
            if len(classes) == 2:
                found["roc_auc"] = reference.roc_auc_score(places, p[:, 1])
            else:
                areas = [reference.roc_auc_score(places == place, p[:, place]) for place in range(3)]
                found["roc_auc_ovr_macro"] = np.mean(areas)
            for name, value in found.items():
                values.setdefault(name, []).append(value)
        own = scores[
            (scores["comparison"] == comparison) & (scores["model"] == model) & (scores["level"] == "subject")
        ].set_index("metric")["value"]
        for name, of_trials in values.items():
            assert own[name] == pytest.approx(np.mean(of_trials), abs=1e-9), (comparison, model, name)
            checked += 1
    assert checked == 2 * 4 * 7
    slices = finished.table("predictions_slices")
    by_slice = scores[(scores["level"] == "slice") & (scores["metric"] == "accuracy")].set_index("comparison")["value"]
    right = (slices["label"] == slices["predicted"]).groupby([slices["comparison"], slices["trial"]]).mean()
    for comparison in CLASSES:
        assert by_slice[comparison] == pytest.approx(right[comparison].mean())


def test_killed_half_way_on_two_cpus_gives_the_same_predictions(finished, no_network, tmp_path):
    arguments = [finished.dataset, tmp_path / "out", "group", *DEEP, "--nprocs", "2", "-w", tmp_path / "work"]
    with start(*arguments, env=no_network) as begun:
        wait_for(begun, "googlenet trial1: done")
        kill_group(begun, signal.SIGKILL)
    code, text = run(*arguments[:3], "--status", env=no_network)
    assert (code, "has not ended" in text) == (1, True), text
    code, text = run(*arguments[:3], "--reports-only", env=no_network)
    assert (code, "has not ended" in text) == (3, True), text
    features = everything(tmp_path / "out" / "group" / "features")
    (work,) = (tmp_path / "work" / "group").iterdir()
    done = everything(work / "folds")
    before = [name for name in done if name.endswith((".npz", ".safetensors"))]
    assert before, "some folds were complete"
    code, text = run(*arguments, "--keep", "all", env=no_network)
    assert code == 0, text
    after = everything(work / "folds")
    assert len(after) > len(done)
    assert {name: after[name] for name in before} == {name: done[name] for name in before}, "and not made again"
    assert everything(tmp_path / "out" / "group" / "features") == features
    for name in ("predictions.tsv", "predictions_slices.tsv", "metrics.tsv", "folds.tsv"):
        one, other = (output / "group" / name for output in (finished.output, tmp_path / "out"))
        assert one.read_bytes() == other.read_bytes(), name
    for pattern in ("models/*", "explain/subjects/*.nii.gz"):
        for path in (finished.output / "group").glob(pattern):
            assert path.read_bytes() == (tmp_path / "out" / path.relative_to(finished.output)).read_bytes(), path.name


def test_other_hyperparameters_compute_no_feature_again(finished, copied, no_network):
    features = everything(copied.output / "group" / "features")
    assert features
    code, text = run(copied.dataset, copied.output, "group", *DEEP, *BARE, "--epochs", "3", env=no_network)
    assert code == 0, text
    assert "features of 0 of 16 maps are to be made" in text
    assert everything(copied.output / "group" / "features") == features
    assert description(copied.output)["Options"]["epochs"] == 3
    assert description(copied.output)["State"] == "complete"
    old, new = finished.table("predictions"), copied.table("predictions")
    same = old["p[HC]"] == new["p[HC]"]
    assert same[old["model"] != "googlenet"].all()
    assert not same[old["model"] == "googlenet"].all()


def test_a_run_without_networks_leaves_nothing_of_them_and_another_seed_gives_other_folds(finished, copied, no_network):
    code, text = run(copied.dataset, copied.output, "group", *QUICK, "--random-seed", "1", env=no_network)
    assert code == 0, text
    assert set(copied.table("metrics")["model"]) == {"svm", "majority", "nuisance"}
    assert not (copied.output / "group" / "predictions_slices.tsv").exists()
    assert all("_svm_" in path.name for path in (copied.output / "group" / "models").iterdir())
    old = finished.table("folds")
    old = old[(old["comparison"] == "hc_vs_migraine") & (old["trial"] == 1)].reset_index(drop=True)
    new = copied.table("folds")
    assert len(old) == len(new)
    assert not old.equals(new)


def test_a_damaged_feature_is_named_and_made_again_once_deleted(finished, copied, no_network):
    path = sorted((copied.output / "group" / "features").rglob("*.npy"))[3]
    content = bytearray(path.read_bytes())
    content[-100] ^= 4
    path.write_bytes(content)
    arguments = [copied.dataset, copied.output, "group", *NETWORKS, *BARE]
    code, text = run(*arguments, env=no_network)
    assert code == 3, text
    assert f"{path.name} are damaged" in " ".join(text.split())
    assert "Traceback" not in text
    (failure,) = description(copied.output)["Failures"]
    assert path.name in failure
    assert str(copied.output) not in failure
    code, text = run(copied.dataset, copied.output, "group", "--status", env=no_network)
    assert (code, path.name in text) == (1, True), text
    path.unlink()
    path.with_suffix(".json").unlink()
    code, text = run(*arguments, env=no_network)
    assert code == 0, text
    wanted = finished.table("predictions")
    wanted = wanted[wanted["model"] != "svm"].reset_index(drop=True)
    assert copied.table("predictions").equals(wanted)


def test_sigterm_ends_it_at_once(finished, no_network, tmp_path):
    with start(finished.dataset, tmp_path / "out", "group", *DEEP, env=no_network) as begun:
        wait_for(begun, "features of 16 of 16 maps")
        time.sleep(1)
        workers = psutil.Process(begun.pid).children(recursive=True)
        begun.send_signal(signal.SIGTERM)
        rest = begun.stdout.read()
        assert begun.wait(timeout=60) == 128 + signal.SIGTERM
    assert "the same command goes on from there" in rest
    # Python's own tracker of resources ends by itself, once nobody holds the other end of its pipe.
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not [worker for worker in alive if worker.status() != psutil.STATUS_ZOMBIE]
    assert not (tmp_path / "out" / ".locks").exists()


@pytest.mark.parametrize("model", ["svm", "googlenet"])
def test_a_saved_model_says_of_new_maps_what_it_said_in_its_fold(finished, no_network, tmp_path, model):
    path = finished.output / "group" / "models" / f"hc_vs_migraine_reho_{model}_trial-1_fold-1.safetensors"
    code, text = run(finished.dataset, tmp_path, "group", "--predict", path, "--nprocs", "1", env=no_network)
    assert code == 0, text
    new = read_table(tmp_path / "group" / f"predicted_{path.stem}.tsv")
    assert len(new) == 16
    old = finished.table("predictions")
    old = old[(old["comparison"] == "hc_vs_migraine") & (old["model"] == model)]
    old = old[(old["trial"] == 1) & (old["fold"] == 1)].set_index("subject")
    key = next(name for name in new if set(old.index) <= set(new[name].astype(str)))
    again = new.set_index(key).loc[old.index]
    np.testing.assert_allclose(again["p[HC]"], old["p[HC]"], atol=2e-6 if model == "svm" else 0.02)
