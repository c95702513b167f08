from __future__ import annotations

import argparse
import re

import pytest

from migxai.cli.options import GROUPS, POSITIONALS, all_options, settings
from migxai.cli.parser import build_parser

NAMES = [
    "--participant-label",
    "--participant_label",
    "--subject-label",
    "--session-label",
    "--session-id",
    "-t",
    "--task-id",
    "--task_id",
    "--run-id",
    "--bids-filter-file",
    "-d",
    "--derivatives",
    "--bids-database-dir",
    "--bids_database_dir",
    "--skip-bids-validation",
    "--skip_bids_validation",
    "--nprocs",
    "--n-cpus",
    "--n_cpus",
    "--nthreads",
    "--omp-nthreads",
    "--mem",
    "--mem-gb",
    "--mem-mb",
    "--mem_mb",
    "--low-mem",
    "--use-plugin",
    "-w",
    "--work-dir",
    "--work_dir",
    "--keep",
    "--resource-monitor",
    "--config-file",
    "--write-graph",
    "--stop-on-first-crash",
    "--reports-only",
    "--boilerplate-only",
    "--md-only-boilerplate",
    "--dry-run",
    "--status",
    "--array-index",
    "--random-seed",
    "--notrack",
    "--version",
    "-v",
    "--preset",
    "--dummy-scans",
    "--repetition-time",
    "--slice-timing",
    "--max-translation",
    "--max-rotation",
    "--anat",
    "--skull-strip-t1w",
    "--registration",
    "--space",
    "--resolution",
    "--motion-terms",
    "--gsr",
    "--fd-threshold",
    "--min-time",
    "--alff-definition",
    "--reho-constant",
    "--atlas",
    "--atlas-labels",
    "--no-bold",
]


def accepted():
    return {flag for action in build_parser()._actions for flag in action.option_strings}


@pytest.mark.parametrize("name", NAMES)
def test_every_promised_name_is_accepted(name):
    assert name in accepted()


def test_every_setting_has_an_option_and_every_option_a_setting():
    reachable = {option.dest for option in all_options() if option.section != "action"} | set(POSITIONALS)
    # --indicators is one option with a setting at each level.
    assert reachable | {"learning.indicators"} == settings()


def test_every_option_is_documented_with_its_default():
    text = " ".join(build_parser().format_help().split())
    for option in all_options():
        assert option.flags[0] in text
        if option.section != "action":
            assert option.default_text(), option.flags
            # Long texts are wrapped, also at hyphens.
            expected = f"(default: {option.default_text()})"
            assert expected.replace(" ", "") in text.replace(" ", ""), option.flags


def test_help_is_grouped_and_spares_the_reader_the_aliases():
    text = build_parser().format_help()
    assert all(f"\n{title}:\n" in text for title in GROUPS.values())
    assert not re.search(r"--\w+_\w+", text)
    assert max(map(len, text.splitlines())) <= 110


def test_choices_are_those_of_the_setting():
    for option in all_options():
        if option.choices:
            value = option.default_value()
            assert set(value if isinstance(value, tuple) else [value]) <= set(option.choices)


def test_no_flag_is_declared_twice():
    flags = [flag for option in all_options() for flag in option.flags]
    assert len(flags) == len(set(flags))
    assert isinstance(build_parser(), argparse.ArgumentParser)
