"""The group level in this process: what it leaves, and what it says when parts of it fail."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from migxai.config import Config, Run
from migxai.errors import InputError, OutputError
from migxai.evaluation.results import GroupFolder
from migxai.execution.locks import LOCK_DIR, group_lock, this_process
from migxai.group import fit as learning
from migxai.group.run import UNFINISHED, describe_group, group_status, run_group, score_group
from tests.e2e.group_runs import copy_maps, everything, read_table
from tests.group.cohorts import configure
from tests.map_fixtures import map_cohort

__all__ = ["map_cohort"]


@pytest.fixture(scope="module")
def cohort(map_cohort, tmp_path_factory) -> Path:
    return copy_maps(map_cohort, tmp_path_factory.mktemp("level") / "maps")


@pytest.fixture(scope="module")
def linear(tmp_path_factory) -> Path:
    """A plugin that runs nodes in this process."""
    file = tmp_path_factory.mktemp("plugin") / "linear.yml"
    file.write_text("plugin: Linear\n")
    return file


@pytest.fixture(scope="module")
def finished(cohort, linear, tmp_path_factory):
    output = tmp_path_factory.mktemp("finished") / "out"
    config = configure(cohort, output, run={"use_plugin": linear})
    said: list[str] = []
    assert run_group(config, 1, 4.0, said.append) == []
    return config, said


@pytest.fixture
def copied(finished, tmp_path):
    """The finished run's configuration, with a copy of its output."""
    config, _ = finished
    return config.replace("run", output_dir=shutil.copytree(config.run.output_dir, tmp_path / "out"))


def described(config) -> dict:
    return json.loads((config.run.output_dir / "group" / "description.json").read_text())


def change_description(config, **changes) -> None:
    path = config.run.output_dir / "group" / "description.json"
    path.write_text(json.dumps(described(config) | changes))


def test_a_whole_run(finished):
    config, said = finished
    output = config.run.output_dir
    assert described(config)["State"] == "complete"
    assert group_status(config) == []
    assert not (output / ".work" / "group").exists()
    assert any("16 people, 0 left out; reho; 4 axial slices" in line for line in said)
    assert any(line.startswith("  ") and "smallest_test" in line for line in said)
    assert said[-2:] == ["Scoring the predictions", "Writing group/report.html"]
    assert set(read_table(output / "group" / "predictions.tsv")["model"]) == {"svm", "majority", "nuisance"}
    assert not (output / "group" / "predictions_slices.tsv").exists()
    assert len(list((output / "group" / "models").glob("*.safetensors"))) == 2 * 2 + 1
    assert json.loads((output / "dataset_description.json").read_text())["GeneratedBy"][0]["Name"] == "migxai"


def test_what_would_be_done_is_told_without_doing_it(cohort, linear, tmp_path):
    before = everything(cohort)
    lines = describe_group(configure(cohort, tmp_path / "out", run={"use_plugin": linear}))
    assert any("models svm, majority, nuisance; 12 folds in all" in line for line in lines)
    assert not (tmp_path / "out").exists()
    assert everything(cohort) == before


def test_intermediate_results_stay_if_asked(cohort, linear, tmp_path):
    config = configure(
        cohort, tmp_path / "out", run={"use_plugin": linear, "keep": "all"}, trials=1, save_models="none"
    )
    assert run_group(config, 1, 4.0, lambda line: None) == []
    (work,) = (tmp_path / "out" / ".work" / "group").iterdir()
    assert len(list((work / "folds").rglob("trial-*.npz"))) == 3 * 2
    assert not (tmp_path / "out" / "group" / "models").exists()


def test_scores_are_written_anew_from_the_predictions_alone(copied):
    group = copied.run.output_dir / "group"
    before = {path.name: path.read_bytes() for path in group.iterdir() if path.is_file()}
    for name in ("metrics.tsv", "metrics.json", "model_comparisons.tsv"):
        (group / name).unlink()
    assert score_group(copied) == ["Scores of 3 units and group/report.html are written anew."]
    assert {path.name: path.read_bytes() for path in group.iterdir() if path.is_file()} == before


def test_results_of_an_earlier_run_do_not_mix_with_this_one(copied):
    group = copied.run.output_dir / "group"
    for name in ("predictions_slices.tsv", "permutations.tsv", "table3.tsv", "model_comparisons.tsv"):
        shutil.copyfile(group / "predictions.tsv", group / name)
    (group / "models" / "old_reho_svm_everybody.safetensors").write_bytes(b"")
    one = dataclasses.replace(copied.learning, models=("majority",), trials=1, bootstraps=5)
    config = dataclasses.replace(copied, learning=one)
    assert run_group(config, 1, 4.0, lambda line: None) == []
    assert not (group / "models").exists()
    assert not [
        name for name in ("predictions_slices.tsv", "permutations.tsv", "table3.tsv") if (group / name).exists()
    ]
    assert set(read_table(group / "predictions.tsv")["model"]) == {"majority", "nuisance"}
    assert set(read_table(group / "model_comparisons.tsv")["model_a"]) == {"majority"}


def test_status_of_runs_that_have_not_ended_well(finished, copied, tmp_path):
    nothing = copied.replace("run", output_dir=tmp_path / "nothing")
    assert group_status(nothing) == ["The group level has not been run, or was ended before its cohort was read."]
    with pytest.raises(InputError, match="holds no results of the group level"):
        score_group(nothing)
    change_description(copied, State="running")
    (line,) = group_status(copied)
    assert line.startswith("The group level was started and has not ended")
    with pytest.raises(InputError, match="has not ended"):
        score_group(copied)
    change_description(copied, State="failed", Failures=["one: it is cut short."])
    assert group_status(copied) == ["one: it is cut short."]
    (copied.run.output_dir / "group" / "description.json").write_text("{}")
    with pytest.raises(InputError, match=r"description.json has no Comparisons; run the group level again"):
        group_status(copied)


def fail(*args, **kwargs):
    raise InputError(f"A file at {Path.home()}/weights.pth is damaged.")


def test_a_run_of_which_nothing_is_complete_raises_why_and_can_be_started_again(cohort, linear, tmp_path, monkeypatch):
    config = configure(cohort, tmp_path / "out", run={"use_plugin": linear}, trials=1)
    real = learning.run_fold
    begun = []

    def second_time(*args, **kwargs):
        begun.append(args[3])
        return real(*args, **kwargs) if len(begun) == 1 else fail()

    monkeypatch.setattr(learning, "run_fold", second_time)
    with pytest.raises(InputError, match=r"weights.pth is damaged"):
        run_group(config, 1, 4.0, lambda line: None)
    assert described(config)["State"] == "failed"
    (sentence,) = group_status(config)
    assert sentence == "baselines: A file at weights.pth is damaged.", "no path of the machine stays in the output"
    assert not (tmp_path / "out" / "group" / "predictions.tsv").exists()

    again = []
    monkeypatch.setattr(learning, "run_fold", lambda *args, **kwargs: again.append(args[0]) or real(*args, **kwargs))
    assert run_group(config, 1, 4.0, lambda line: None) == []
    assert again == ["svm", "majority", "majority", "nuisance", "nuisance"], "the one fold that was complete is kept"
    assert group_status(config) == []


def test_a_second_run_into_the_same_output_is_refused(copied):
    with group_lock(copied.run.output_dir), pytest.raises(OutputError, match="being run by another process"):
        run_group(copied, 1, 4.0, lambda line: None)


def test_permutations_are_set_beside_the_first_trial(cohort, linear, tmp_path):
    config = configure(cohort, tmp_path / "out", run={"use_plugin": linear}, trials=1, permutations=2)
    assert run_group(config, 1, 4.0, lambda line: None) == []
    permuted = read_table(tmp_path / "out" / "group" / "permutations.tsv").set_index("metric")
    assert permuted.index.tolist() == ["roc_auc", "balanced_accuracy"]
    scores = read_table(tmp_path / "out" / "group" / "metrics.tsv")
    scores = scores[scores["model"] == "svm"].set_index("metric")["value"]
    for metric, row in permuted.iterrows():
        assert row["observed"] == pytest.approx(scores[metric])
        assert row["p"] in (pytest.approx(1 / 3), pytest.approx(2 / 3), 1)


def begun(root: Path) -> Config:
    """Leave the description of a group level that has begun."""
    folder = GroupFolder.of(root)
    folder.description.parent.mkdir(parents=True)
    content = {"State": "running", "Failures": [], "Comparisons": [], "CrossValidation": {}, "Seed": 0, "Options": {}}
    folder.description.write_text(json.dumps(content))
    return Config(run=Run(output_dir=root))


def test_a_group_level_at_work_is_named(tmp_path):
    config = begun(tmp_path)
    with group_lock(tmp_path):
        [sentence] = group_status(config)
    assert sentence.startswith("The group level is being run (process")


def test_of_one_that_was_killed_is_said_what_is_known(tmp_path):
    config = begun(tmp_path)
    assert group_status(config) == [UNFINISHED]
    (tmp_path / LOCK_DIR).mkdir()
    holder = dataclasses.replace(this_process(), job="PBS 7.head", flocked=True)
    (tmp_path / LOCK_DIR / "group.lock").write_text(json.dumps(dataclasses.asdict(holder)))
    assert group_status(config) == [f"killed by signal 9, cause unknown (PBS job 7.head). {UNFINISHED}"]
