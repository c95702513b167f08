"""What the group level does for each action, with stand-ins for the work; and what it says of what can't be used."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from migxai.cli.main import main
from migxai.errors import InputError
from migxai.execution import run as execution_run
from tests.e2e.group_runs import QUICK, change_map, change_people, copy_maps, everything, map_of, sidecar_of
from tests.map_fixtures import map_cohort

__all__ = ["map_cohort"]


@pytest.fixture(autouse=True)
def apart(monkeypatch):
    """Leave this process's environment, and whatever other tests have started in it, alone."""
    ended = []
    monkeypatch.setattr(execution_run, "end_descendants", lambda: ended.append(True))
    with mock.patch.dict(os.environ):
        yield ended


def run_well(config, processes, memory_gb, report):
    report(f"working on {processes} CPUs with {memory_gb:g} GB")
    return []


def run_badly(config, processes, memory_gb, report):
    return ["one: it is cut short.", "two: it is too."]


def run_not(config, processes, memory_gb, report):
    raise InputError("Nobody is there.")


def score(config):
    return ["Scored."]


def describe(config):
    return ["This would be done."]


def complete(config):
    return []


def incomplete(config):
    return ["one is missing."]


def doubtful(config):
    return ["Maps show anything: none"]


def predict(config, path):
    return [f"{path.name} is used."]


@pytest.fixture
def process(tmp_path, monkeypatch):
    """Run the command line on an empty dataset, with stand-ins for the work; the output is ``tmp_path / "out"``."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    execution_run.log_file.cache_clear()

    def call(*arguments, **stand_ins):
        functions = {"run_group": run_well, "score_group": score, "describe_group": describe}
        functions |= {"group_status": complete, "failed_checks": complete} | stand_ins
        for name, function in functions.items():
            monkeypatch.setattr(f"migxai.group.run.{name}", function)
        monkeypatch.setattr("migxai.group.predict.predict_group", predict)
        places = [tmp_path / "in", tmp_path / "out", "group", "--nprocs", "3", "--mem-gb", "7"]
        return main([str(item) for item in (*places, *arguments)])

    return call


def test_a_run_tells_what_it_does_and_tidies_up(process, tmp_path, capsys, apart):
    assert process() == 0
    said = capsys.readouterr().err
    assert "group level, 3 CPUs, 7.0 GB" in said
    assert "working on 3 CPUs with 7 GB" in said
    assert said.rstrip().endswith("Done.")
    assert not (tmp_path / "out" / ".work").exists()
    assert (tmp_path / "out" / "logs" / "config.toml").is_file()
    assert not apart, "nothing has to be ended"
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_parts_that_failed_are_told_and_the_log_is_kept(process, tmp_path, capsys):
    assert process(run_group=run_badly) == 1
    said = capsys.readouterr().err
    assert "one: it is cut short." in said
    assert "2 parts failed; the log is" in said
    (log,) = (tmp_path / "out" / ".work" / "logs").iterdir()
    assert "two: it is too." in log.read_text()


def test_failed_checks_count_where_they_are_asked_to(process, capsys):
    assert process("--strict", failed_checks=doubtful) == 4
    assert "Check failed: Maps show anything: none" in capsys.readouterr().err
    assert process(failed_checks=doubtful) == 0
    assert process("--strict") == 0
    assert process("--strict", failed_checks=doubtful, run_group=run_badly) == 1, "what is missing comes first"


def test_what_cannot_begin_ends_whatever_it_had_started(process, capsys, apart):
    assert process(run_group=run_not) == 3
    assert "Nobody is there." in capsys.readouterr().err
    assert apart == [True]


@pytest.mark.parametrize("keep", ["some", "all"])
def test_the_log_stays_if_asked(process, tmp_path, keep):
    assert process("--keep", keep) == 0
    assert list((tmp_path / "out" / ".work" / "logs").iterdir())


@pytest.mark.parametrize(
    ("action", "stand_ins", "code", "text"),
    [
        ("--dry-run", {}, 0, "This would be done.\n"),
        ("--status", {}, 0, "The group level is complete.\n"),
        ("--status", {"group_status": incomplete}, 1, "one is missing.\n"),
    ],
)
def test_questions_write_nothing(process, tmp_path, capsys, action, stand_ins, code, text):
    assert process(action, **stand_ins) == code
    assert capsys.readouterr().out == text
    assert not (tmp_path / "out").exists()


def test_other_actions_are_handed_on(process, tmp_path, capsys):
    assert process("--reports-only") == 0
    assert process("--predict", tmp_path / "a.safetensors") == 0
    assert capsys.readouterr().out == "Scored.\na.safetensors is used.\n"
    assert not list((tmp_path / "out").iterdir()), "no empty work directory stays"


def test_a_plugin_file_is_read_before_anything_is_begun(process, tmp_path, capsys):
    file = tmp_path / "plugin.yml"
    file.write_text("nothing: here\n")
    assert process("--use-plugin", file) == 2
    assert "names no plugin" in capsys.readouterr().err


# What follows is the real group level, which refuses before it starts any process.


@pytest.fixture(scope="module")
def cohort(map_cohort, tmp_path_factory) -> Path:
    return copy_maps(map_cohort, tmp_path_factory.mktemp("refused") / "maps")


@pytest.fixture
def dataset(cohort, tmp_path) -> Path:
    return shutil.copytree(cohort, tmp_path / "maps")


@pytest.fixture
def refuse(tmp_path, capfd):
    """Run the command line; it must end with this code and a sentence, and write no result."""

    def call(code, sentence, dataset, *arguments, output=tmp_path / "out"):
        assert main([str(item) for item in (dataset, output, "group", *QUICK, *arguments)]) == code
        said = capfd.readouterr().err
        assert re.search(sentence, said), said
        assert "Traceback" not in said
        assert said.rstrip().endswith((".", "?", ")"))
        assert not (output / "group").exists()

    return call


def test_no_maps(refuse, dataset):
    for path in dataset.rglob("*_boldmap.nii.gz"):
        path.unlink()
    refuse(3, "Neither maps nor out holds indicator maps .* run the participant level first", dataset)


def test_no_maps_of_an_indicator(refuse, dataset):
    refuse(3, "holds no map of alff; it holds reho", dataset, "--indicators", "alff")


@pytest.mark.parametrize(
    ("change", "arguments", "code", "sentence"),
    [
        (lambda t: t.drop(columns="group"), [], 3, "no column 'group' for the labels; choose one with --label-column"),
        (lambda t: t, ["--label-column", "grup"], 3, "no column 'grup' .* did you mean group"),
        (lambda t: t.assign(group="n/a"), [], 3, r"all 16 people are left out \(no label: 16\)"),
        (lambda t: t.assign(group=t["age"] + 0.5), [], 3, "holds numbers .* not classes"),
        (lambda t: t.assign(group=t["group"].replace("MWA", "MvA")), [], 2, "'MWA', .* did you mean 'MWoA' or 'MvA'"),
        (lambda t: t.assign(group=t["group"].replace("MWA", "mwoa")), [], 3, "holds both 'MWoA' and 'mwoa'"),
        (lambda t: t.assign(group="HC"), [], 3, "holds one label only, 'HC', so there is nothing to compare"),
        (lambda t: t, ["--folds", "8"], 3, r"Too few people in a class \(HC 7, MWoA\+MWA 9\): each needs at least 8"),
        (lambda t: t.drop(columns="site"), ["--cv", "leave-one-site-out"], 2, "needs people of two sites"),
        (lambda t: t, ["--site-column", "scanner"], 2, "has the site column 'scanner'; there are"),
        (lambda t: t.replace("sub-03", "sub-02"), [], 3, "names sub-02 more than once"),
        (lambda t: t.replace("sub-", "person", regex=True), [], 3, "None of the 16 people who have maps"),
        (lambda t: t, ["--where", "age <"], 2, "age <"),
        (lambda t: t, ["--where", "age > 200"], 3, "Nobody is left to compare"),
        (lambda t: t, ["--slices", "60"], 2, "60 axial slices are asked for"),
        (lambda t: t, ["--slice-range", "500", "600"], 2, "holds no axial plane of the brain"),
        (lambda t: t, ["--models", "googlnet"], 2, "no model 'googlnet'.* Did you mean googlenet"),
        (lambda t: t, ["--comparison", "odd=HC:Nobody"], 2, "needs the label 'Nobody'"),
    ],
)
def test_tables_and_options(refuse, dataset, change, arguments, code, sentence):
    change_people(dataset, change)
    refuse(code, sentence, dataset, *arguments)


def _constant(values):
    return np.where(values > 0, 1.5, 0)


def _almost_constant(values):
    flat = np.where(values > 0, 2.0, 0)
    flat[tuple(np.argwhere(values > 0)[0])] = 7
    return flat


@pytest.mark.parametrize(
    ("change", "shift", "sentence"),
    [
        (lambda values: values[:-1], 0, "different grids: .* 65x77x65 and 64x77x65 voxels"),
        (lambda values: values, 3, "different grids: .* differ by up to 3 mm"),
        (lambda values: values * np.nan, 0, r"sub-03_\S+reho_boldmap.nii.gz holds nothing but zeros and NaN"),
        (lambda values: values * 0, 0, r"sub-03_\S+reho_boldmap.nii.gz holds nothing but zeros and NaN"),
        (_constant, 0, r"sub-03_\S+reho_boldmap.nii.gz has the value 1.5 everywhere"),
        (_almost_constant, 0, r"sub-03_\S+reho_boldmap.nii.gz: The map is constant"),
    ],
)
def test_maps_that_cannot_be_used(refuse, dataset, change, shift, sentence):
    change_map(map_of(dataset, "03"), change, shift)
    refuse(3, sentence, dataset)


@pytest.mark.parametrize("harm", [lambda old: old[:50_000], lambda old: old[:9000] + b"0" + old[9001:]])
def test_a_map_that_is_cut_short_or_damaged(refuse, dataset, harm):
    path = map_of(dataset, "03")
    path.write_bytes(harm(path.read_bytes()))
    refuse(3, rf"{path.name} cannot be read", dataset)


def test_one_person_under_two_names(refuse, dataset):
    shutil.copyfile(map_of(dataset, "04"), map_of(dataset, "03"))
    refuse(3, "sub-03 of .* and sub-04 of .* are the same person under two names", dataset)


def test_maps_of_two_spaces(refuse, dataset):
    for path in (map_of(dataset, "03"), sidecar_of(map_of(dataset, "03"))):
        path.rename(path.with_name(path.name.replace("NLin2009cAsym", "NLin6Asym")))
    refuse(3, "Maps of space-MNI152NLin2009cAsym and space-MNI152NLin6Asym are mixed", dataset)


def test_maps_of_two_definitions(refuse, dataset):
    path = sidecar_of(map_of(dataset, "03"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"Definition": "another"}))
    refuse(3, "were not all made alike: Definition is", dataset)


def test_outputs_that_cannot_be_used(refuse, cohort, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "dataset_description.json").write_text('{"Name": "x", "GeneratedBy": [{"Name": "fMRIPrep"}]}')
    refuse(2, "is another dataset", cohort, output=foreign)
    (tmp_path / "file").write_text("")
    refuse(2, "can't be used: file is a file where a directory is needed", cohort, output=tmp_path / "file")
    before = everything(cohort)
    refuse(2, "is another dataset", cohort, output=cohort)
    assert set(everything(cohort)) - set(before) == set()


@pytest.fixture
def no_weights(monkeypatch, tmp_path):
    for name in ("XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "empty"))


def test_weights_that_are_not_there_or_not_what_they_should_be(refuse, cohort, tmp_path, no_weights):
    torch = pytest.importorskip("torch")
    from torchvision.models import resnet18

    refuse(3, "No pretrained weights of googlenet .* --weights random does without", cohort, "--models", "googlenet")
    good = tmp_path / "other.pth"
    torch.save(resnet18().state_dict(), good)
    short, code, empty = (tmp_path / name for name in ("short.pth", "code.pth", "empty.pth"))
    short.write_bytes(good.read_bytes()[:100_000])
    code.write_bytes(pickle.dumps(_Harmful(tmp_path / "harm"), protocol=2))
    empty.write_bytes(b"")
    for path, sentence in (
        (good, "does not fit googlenet: .* It belongs to another network"),
        (short, "is damaged or cut short"),
        (code, "holds more than numbers"),
        (empty, "is damaged or cut short"),
    ):
        refuse(3, rf"{path.name} {sentence}", cohort, "--models", "googlenet", "--weights", path)
    refuse(2, "there is no file", cohort, "--models", "googlenet", "--weights", tmp_path / "gone.pth")
    assert not (tmp_path / "harm").exists()


class _Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self._folder = str(folder)

    def __reduce__(self):
        return (os.mkdir, (self._folder,))
