from __future__ import annotations

import dataclasses

import pytest

from migxai.cli.parser import parse
from migxai.config import PAPER_PRESET, Config, to_toml
from migxai.errors import UsageError

PLACES = ("/in", "/out", "participant")


def configured(*arguments):
    return parse([*PLACES, *arguments]).config


def written(tmp_path, *arguments):
    file = tmp_path / "config.toml"
    file.write_text(to_toml(configured(*arguments)))
    return str(file)


def test_without_options_the_defaults_hold():
    config = configured()
    assert dataclasses.replace(config, run=Config().run) == Config()
    assert str(config.run.bids_dir) == "/in"
    assert str(config.run.output_dir) == "/out"


def test_lists_extend_and_labels_lose_their_entity():
    config = configured("--participant-label", "sub-01", "02", "--participant_label", "03", "--run-id", "run-1")
    assert config.selection.participant_label == ("01", "02", "03")
    assert config.selection.run_id == ("1",)


def test_typed_values_have_the_types_of_the_settings():
    config = configured("--dummy-scans", "auto", "--resolution", "native", "--motion-terms", "6", "--no-wm", "-vv")
    assert config.preprocessing.dummy_scans == "auto"
    assert config.preprocessing.resolution == "native"
    assert config.denoising.motion_terms == 6
    assert config.denoising.wm is False
    assert config.run.verbose == 2


def test_the_order_of_indicators_changes_nothing():
    one, other = configured("--indicators", "reho", "alff", "reho"), configured("--indicators", "alff", "reho")
    assert one == other
    assert one.hash() == other.hash()


def test_option_overrides_file_overrides_default(tmp_path):
    file = written(tmp_path, "--fwhm", "6", "--high", "0.1", "--gsr", "--task-id", "eyes")
    config = configured("--config-file", file, "--fwhm", "5", "--no-gsr")
    assert config.denoising.fwhm == 5.0
    assert config.denoising.high == 0.1
    assert config.denoising.gsr is False
    assert config.selection.task_id == "eyes"


def test_paper_preset_and_its_place_in_the_order(tmp_path):
    paper = configured("--preset", "paper")
    for section, changes in PAPER_PRESET.items():
        for name, value in changes.items():
            assert getattr(getattr(paper, section), name) == value
    assert paper.preset == "paper"
    # A full file of defaults must not silently undo a preset that was typed, ...
    assert configured("--config-file", written(tmp_path), "--preset", "paper").denoising.order == "paper"
    # ... a single option undoes it, ...
    assert configured("--preset", "paper", "--rfcs-divisor", "n-1").indicators.rfcs_divisor == "n-1"
    # ... and a file that names a preset only in its head has all of it.
    short = tmp_path / "short.toml"
    short.write_text('preset = "paper"\n[denoising]\nfwhm = 6\n')
    config = configured("--config-file", str(short))
    assert (config.denoising.order, config.denoising.fwhm) == ("paper", 6.0)
    assert configured("--config-file", str(short), "--preset", "default").denoising.order == "regress-filter"


def test_written_configuration_reproduces_the_run(tmp_path):
    arguments = ["--preset", "paper", "--fwhm", "6", "--max-rotation", "3", "-d", "fmriprep=/prep", "--no-bold"]
    config = configured(*arguments)
    file = written(tmp_path, *arguments)
    again = configured("--config-file", file, "-d", "fmriprep=/prep")
    assert again == config
    assert again.resume_key() == config.resume_key()


def test_a_reuse_has_to_name_the_paths_that_change_results(tmp_path):
    file = written(tmp_path, "-d", "fmriprep=/prep", "--atlas", "/a.nii", "--atlas-labels", "/a.tsv", "-w", "/work")
    with pytest.raises(UsageError, match=r"--derivatives, --atlas, --atlas-labels"):
        configured("--config-file", file)
    with pytest.raises(UsageError, match="given --derivatives;"):
        configured("--config-file", file, "--atlas", "/a.nii", "--atlas-labels", "/a.tsv")
    assert (
        configured(
            "--config-file", file, "--atlas", "/b.nii", "--atlas-labels", "/a.tsv", "-d", "fmriprep=/p"
        ).run.work_dir
        is None
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--low", "0.1"], "--low 0.1 must be less than --high 0.08"),
        (["--low", "-1"], "negative"),
        (["--fwhm", "-1"], "negative"),
        (["--fd-threshold", "0"], "--fd-threshold"),
        (["--min-time", "0"], "--min-time"),
        (["--repetition-time", "0"], "--repetition-time"),
        (["--repetition-time", "2000"], "in seconds"),
        (["--slice-time-ref", "2"], "--slice-time-ref"),
        (["--max-translation", "0"], "--max-translation"),
        (["--max-rotation", "-2"], "--max-rotation"),
        (["--resolution", "0"], "--resolution"),
        (["--min-coverage", "50"], "--min-coverage"),
        (["--atlas", "/x.nii"], "belong together"),
        (["--atlas-labels", "/x.tsv"], "belong together"),
        (["--preset", "paper", "--indicators", "falff"], "fALFF"),
        (["--nprocs", "2", "--omp-nthreads", "4"], "--omp-nthreads 4 is more than --nprocs 2"),
        (["--status", "--reports-only"], "exclude each other"),
        (["--config-file", "/no/such.toml"], "can't be read"),
    ],
)
def test_contradictions_are_sentences(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        configured(*arguments)


@pytest.mark.parametrize(
    "text",
    ["fwhm = ", "[denoising]\nfwhm = nan", "[denoising]\nfwhm = 'wide'", "[denoising]\nsmooth = 4", "[nothing]\na = 1",
     "[indicators]\nindicators = ['falf']", "[indicators]\nindicators = []", "[indicators]\nforms = []",
     "[preprocessing]\ndummy_scans = -1", "[run]\nmem_gb = -1", "random_seed = -1"],
)  # fmt: skip
def test_bad_configuration_files_are_refused(tmp_path, text):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(UsageError):
        configured("--config-file", str(file))


def test_group_level_learns_from_the_indicators_named():
    request = parse(["/in", "/out", "group", "--indicators", "reho", "alff", "--comparison", "a_vs_b=A:B+C"])
    assert request.level == "group"
    assert request.config.learning.indicators == ("reho", "alff")
    assert request.config.learning.comparisons == ("a_vs_b=A:B+C",)
    assert request.config.indicators == Config().indicators


@pytest.mark.parametrize("arguments", [["--array-index", "1/2"], ["--boilerplate-only"]])
def test_what_only_the_participant_level_does_is_refused_at_group_level(arguments):
    with pytest.raises(UsageError, match="participant level"):
        parse(["/in", "/out", "group", *arguments])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--folds", "1"],
        ["--slice-range", "5"],
        ["--slice-range", "5", "-5"],
        ["--crop", "0"],
        ["--dropout", "1"],
        ["--min-fov", "2"],
        ["--learning-rate", "0"],
        ["--indicators", "reho", "reho"],
    ],
)
def test_impossible_settings_of_the_group_level_are_refused(arguments):
    with pytest.raises(UsageError, match=arguments[0]):
        parse(["/in", "/out", "group", *arguments])


@pytest.mark.parametrize(
    "arguments", [["--bogus"], ["--indic", "alff"], ["--mem", "much"], ["--keep", "most"], ["--low"]]
)
def test_argparse_ends_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        parse([*PLACES, *arguments])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("migxai: ")


@pytest.mark.parametrize("places", [("/in", "/out"), ("in", "out")])
def test_swallowed_positionals_get_a_hint(places, capsys):
    with pytest.raises(SystemExit):
        parse(["--participant-label", "01", *places, "participant"])
    message = capsys.readouterr().err
    assert "in front of" in message
    assert "_label" not in message


def test_the_papers_order_refuses_censoring():
    with pytest.raises(UsageError, match="paper's order"):
        configured("--preset", "paper", "--fd-threshold", "0.5")
