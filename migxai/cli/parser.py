"""From the command line to a `Request`: the parser built from the table of options, and the order of precedence.

Defaults give way to the preset named in a configuration file, that to the file's settings, those to a preset typed on
the command line, and everything to single options typed on the command line.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from migxai import __version__
from migxai.cli.options import FORMS, GROUPS, INDICATORS, OPTIONS, POSITIONALS, Option
from migxai.cli.values import path
from migxai.config import PAPER_PRESET, Config, from_toml, placeholders
from migxai.errors import UsageError

Action = Literal["run", "status", "dry_run", "reports_only", "boilerplate_only"]

DESCRIPTION = (
    "Resting-state fMRI to indicator maps (ALFF, fALFF, ReHo, RFCS) for the study of migraine: a BIDS-App that takes "
    "raw BIDS data or fMRIPrep's output."
)
EPILOG = (
    "Every name with hyphens is also accepted with underscores. Options that take several values may be repeated; put "
    "bids_dir, output_dir and the level in front of them. Exit codes: 0 all done; 1 some subjects failed; 2 wrong "
    "usage; 3 unusable input; 5 out of memory or disk; 70 internal error; 128+n ended by signal n."
)
#: Paths in a written configuration that change results: a reuse has to name them.
NEEDED = {
    "run.derivatives": "--derivatives",
    "indicators.atlas": "--atlas",
    "indicators.atlas_labels": "--atlas-labels",
}


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    config: Config
    action: Action = "run"
    array_index: str | None = None


class _Formatter(argparse.HelpFormatter):
    """Help without the underscored aliases, each name once rather than once with every metavar."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=110)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        names = ", ".join(flag for flag in action.option_strings if "_" not in flag)
        return f"{names} {self._format_args(action, action.dest.upper())}" if action.nargs != 0 else names


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if "arguments are required" in message:
            message += (
                " (put them in front of options that take several values: migxai bids_dir output_dir participant ...)"
            )
        message = re.sub(r"/--\w+_\w+", "", message)
        self.exit(2, f"{self.prog}: {message}. See {self.prog} --help.\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the argparse parser of the table of options.

    Only what is typed appears in the namespace it yields.
    """
    parser = _Parser(
        prog="migxai",
        usage="migxai bids_dir output_dir {participant,group} [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=_Formatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("bids_dir", type=path, help="The BIDS dataset, raw or from fMRIPrep.")
    parser.add_argument("output_dir", type=path, help="Where the derivative dataset is written.")
    parser.add_argument(
        "analysis_level",
        choices=("participant", "group"),
        metavar="{participant,group}",
        help="participant: indicator maps of each subject. This version has no group level yet.",
    )
    groups = {key: parser.add_argument_group(title) for key, title in GROUPS.items()}
    for option in OPTIONS:
        groups[option.group].add_argument(*_spellings(option), **_arguments(option))
    return parser


def _spellings(option: Option) -> list[str]:
    underscored = [f"--{flag[2:].replace('-', '_')}" for flag in option.flags if flag.startswith("--")]
    return [*option.flags, *(flag for flag in underscored if flag not in option.flags)]


def _arguments(option: Option) -> dict[str, Any]:
    default = option.default_text()
    text = option.help.replace("%", "%%") + (f" (default: {default})" if default else "")
    if option.kind == "version":
        return {"action": "version", "version": f"migxai {__version__}", "help": text}
    common: dict[str, Any] = {"dest": option.dest, "help": text, "default": argparse.SUPPRESS}
    if option.kind == "flag":
        return common | {"action": "store_true"}
    if option.kind == "switch":
        return common | {"action": argparse.BooleanOptionalAction}
    if option.kind == "count":
        return common | {"action": "count"}
    value = common | {"type": option.parse, "metavar": option.metavar, "choices": option.choices or None}
    return value | {"action": "extend", "nargs": "+"} if option.kind == "list" else value


def parse(argv: Sequence[str] | None = None) -> Request:
    """Read a command line.

    Parameters
    ----------
    argv
        The arguments without the program's name (default: those of this process).

    Returns
    -------
    Request

    Raises
    ------
    UsageError
        If options contradict each other, a setting is out of range, or the configuration file can't be used.
    SystemExit
        From argparse: after ``--help`` and ``--version`` with 0, otherwise with 2.
    """
    typed = vars(build_parser().parse_args(argv))
    if typed.pop("analysis_level") == "group":
        raise UsageError(
            "This version of migxai has only the participant level; run it with participant, and keep its output "
            "for the group level of a later version."
        )
    actions = [name for name in ("status", "dry_run", "reports_only", "boilerplate_only") if f"action.{name}" in typed]
    if len(actions) > 1:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in actions)
        raise UsageError(f"{names} exclude each other; give one of them.")
    config = build_config(typed)
    check(config)
    action: Action = actions[0] if actions else "run"  # type: ignore[assignment]
    return Request(config, action, typed.get("action.array_index"))


def build_config(typed: dict[str, Any]) -> Config:
    """Merge what was typed with a configuration file, a preset and the defaults.

    Parameters
    ----------
    typed
        Namespace of `build_parser` as a dictionary.

    Returns
    -------
    Config
    """
    config = _from_file(typed.get("action.config_file"), typed)
    preset = typed.get("config.preset")
    if preset is not None:
        config = _apply_preset(config, preset)
    for name in POSITIONALS:
        config = config.replace("run", **{name.partition(".")[2]: typed[name.partition(".")[2]]})
    for option in OPTIONS:
        if option.section != "action" and option.dest in typed:
            value = typed[option.dest]
            value = tuple(value) if isinstance(value, list) else value
            config = config.replace(option.section, **{option.field: value})
    # The order in which maps are named changes nothing, so it must not change the hash either.
    ordered = {
        "indicators": tuple(item for item in INDICATORS if item in config.indicators.indicators),
        "forms": tuple(item for item in FORMS if item in config.indicators.forms),
    }
    unknown = set(config.indicators.indicators) - set(INDICATORS) | set(config.indicators.forms) - set(FORMS)
    if unknown:
        raise UsageError(f"{', '.join(sorted(unknown))}: no such indicator or form of it (see --help).")
    return config.replace("indicators", **ordered)


def _from_file(file: Path | None, typed: dict[str, Any]) -> Config:
    if file is None:
        return Config()
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"The configuration file {file} can't be read: {reason}.") from error
    missing = [name for name in placeholders(text, str(file)) if name in NEEDED and name not in typed]
    if missing:
        options = ", ".join(NEEDED[name] for name in missing)
        raise UsageError(f"{file} was written by a run that was given {options}; name it on the command line again.")
    named = from_toml(text, origin=str(file)).preset
    return from_toml(text, _apply_preset(Config(), named), origin=str(file))


def _apply_preset(config: Config, preset: str) -> Config:
    """Set what the paper did otherwise than the defaults, or set exactly that back."""
    defaults = Config()
    for section, changes in PAPER_PRESET.items():
        if preset == "default":
            changes = {name: getattr(getattr(defaults, section), name) for name in changes}
        config = config.replace(section, **changes)
    return config.replace("config", preset=preset)


def check(config: Config) -> None:
    """Refuse settings that are out of range or contradict each other.

    What depends on the data (the Nyquist frequency, the number of volumes) is checked with the data.

    Raises
    ------
    UsageError
        With the first problem found.
    """
    for problem, sentence in _problems(config):
        if problem:
            raise UsageError(sentence)


def _problems(config: Config) -> list[tuple[bool, str]]:
    raw, denoising, indicators, run = config.preprocessing, config.denoising, config.indicators, config.run
    low, high = denoising.low, denoising.high
    return [
        (not _finite(config), "Numbers have to be finite: a setting is nan or inf."),
        (low < 0, f"--low {low:g} is negative; frequencies are in Hz, from 0."),
        (not low < high, f"--low {low:g} must be less than --high {high:g}."),
        (denoising.fwhm < 0, f"--fwhm {denoising.fwhm:g} is negative; 0 switches smoothing off."),
        (
            denoising.fd_threshold is not None and denoising.fd_threshold <= 0,
            f"--fd-threshold {denoising.fd_threshold} must be more than 0; leave it out to keep every volume.",
        ),
        (
            denoising.fd_threshold is not None and denoising.order == "paper",
            "--fd-threshold leaves volumes out, which the paper's order of denoising (--preset paper) does not know.",
        ),
        (
            denoising.min_time is not None and denoising.min_time <= 0,
            f"--min-time {denoising.min_time} must be more than 0 seconds.",
        ),
        (
            isinstance(raw.dummy_scans, int) and raw.dummy_scans < 0,
            f"--dummy-scans {raw.dummy_scans} is negative; 0 keeps every volume.",
        ),
        (
            raw.repetition_time is not None and not 0 < raw.repetition_time < 100,
            f"--repetition-time {raw.repetition_time} is not a repetition time in seconds.",
        ),
        (not 0 <= raw.slice_time_ref <= 1, f"--slice-time-ref {raw.slice_time_ref:g} must be from 0 to 1."),
        (raw.max_translation <= 0, f"--max-translation {raw.max_translation:g} must be more than 0 mm."),
        (raw.max_rotation <= 0, f"--max-rotation {raw.max_rotation:g} must be more than 0 degrees."),
        (
            raw.resolution != "native" and not 0.5 <= float(raw.resolution) <= 10,
            f"--resolution {raw.resolution} must be native, or from 0.5 to 10 mm.",
        ),
        (not 0 <= indicators.min_coverage <= 1, f"--min-coverage {indicators.min_coverage:g} must be from 0 to 1."),
        (not indicators.indicators, "No indicator is left to compute; name at least one with --indicators."),
        (not indicators.forms, "No form of the maps is left to write; name at least one with --forms."),
        (
            (indicators.atlas is None) != (indicators.atlas_labels is None),
            "--atlas and --atlas-labels belong together; give both or neither.",
        ),
        (
            config.preset == "paper" and "falff" in indicators.indicators,
            "--preset paper band-passes before everything else, and fALFF of band-passed data is about 1 everywhere; "
            "leave falff out of --indicators, or leave out --preset paper.",
        ),
        (run.mem_gb is not None and run.mem_gb <= 0, f"--mem-gb {run.mem_gb} must be more than 0."),
        (
            run.nprocs is not None and run.omp_nthreads is not None and run.omp_nthreads > run.nprocs,
            f"--omp-nthreads {run.omp_nthreads} is more than --nprocs {run.nprocs}; a subject can't use more CPUs than "
            "there are in all.",
        ),
        (config.random_seed < 0, f"The random seed {config.random_seed} is negative."),
    ]


def _finite(config: Config) -> bool:
    sections = (config.preprocessing, config.denoising, config.indicators, config.run)
    numbers = (value for section in sections for value in vars(section).values() if isinstance(value, float))
    return all(math.isfinite(value) for value in numbers)
