from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from migxai.cli.options import all_options
from migxai.cli.parser import parse

FOLDER = Path(__file__).resolve().parents[2] / "boutiques"
DESCRIPTOR = FOLDER / "migxai.json"
EXAMPLES = sorted((FOLDER / "examples").glob("*.json"))

#: Boutiques pins old libraries, so it lives in an environment of its own: MIGXAI_BOSH names the program.
BOSH = os.environ.get("MIGXAI_BOSH") or shutil.which("bosh")
needs_bosh = pytest.mark.skipif(BOSH is None, reason="there is no bosh (pip install boutiques, or MIGXAI_BOSH)")


def test_the_descriptor_is_what_the_options_yield():
    subprocess.run([sys.executable, FOLDER / "generate.py", "--check"], check=True)


def test_a_change_of_the_options_is_noticed(tmp_path):
    shutil.copy(FOLDER / "generate.py", tmp_path)
    text = DESCRIPTOR.read_text().replace("--fwhm", "--full-width")
    (tmp_path / "migxai.json").write_text(text)
    done = subprocess.run([sys.executable, tmp_path / "generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "run python boutiques/generate.py" in done.stderr


def test_every_option_has_an_input_whose_flag_the_parser_knows():
    content = json.loads(DESCRIPTOR.read_text())
    flags = {item["command-line-flag"] for item in content["inputs"] if "command-line-flag" in item}
    known = {flag for option in all_options() for flag in option.flags}
    assert {flag.replace("--no-", "--") for flag in flags} <= known | {flag.replace("--no-", "--") for flag in known}
    options = [option for option in all_options() if option.field not in ("version", "notrack", "md_only_boilerplate")]
    assert len(content["inputs"]) == 4 + len(options) + sum(option.kind == "switch" for option in options)
    for item in content["inputs"]:
        assert item["value-key"] in content["command-line"]


def bosh(*arguments):
    return subprocess.run([BOSH, *map(str, arguments)], capture_output=True, text=True, check=False)


@needs_bosh
def test_bosh_finds_it_valid_as_a_bids_app():
    done = bosh("validate", "--bids", DESCRIPTOR)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "BIDS validation OK" in done.stdout


@needs_bosh
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda file: file.stem)
def test_examples_yield_command_lines_that_mean_what_they_say(example):
    done = bosh("exec", "simulate", DESCRIPTOR, "-i", example)
    assert done.returncode == 0, done.stdout + done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("mkdir -p")]
    made, command = line.split(";", 1)
    given = json.loads(example.read_text())
    output = given["output_dir_name"]
    assert shlex.split(made) == ["mkdir", "-p", output]
    program, *words = shlex.split(command)
    assert program == "migxai"
    request = parse(words)
    assert request.level == given["analysis_level"]
    assert request.config.run.bids_dir == Path("bids").absolute()
    assert request.config.run.output_dir == Path(output).absolute()
    assert request.config.selection.participant_label == tuple(given.get("participant_label", ()))
    if "derivatives" in given:
        assert request.config.run.derivatives == (("fmriprep", Path("derivatives/fmriprep").absolute()),)
        assert request.config.indicators.indicators == ("alff", "reho")
        assert not request.config.denoising.gsr
    if request.level == "group":
        assert request.config.learning.models == ("svm", "resnet18")
        assert (request.config.learning.weights, request.config.learning.trials) == ("random", 1)
