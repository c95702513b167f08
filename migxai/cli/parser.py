"""From the command line to a `Request`: the parser built from the table of options, and the order of precedence.

Defaults give way to the preset named in a configuration file, that to the file's settings, those to a preset typed on
the command line, and everything to single options typed on the command line.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from migxai import __version__
from migxai.cli.options import FORMS, GROUPS, POSITIONALS, Option, all_options
from migxai.config import PAPER_PRESET, Config, from_toml, placeholders
from migxai.errors import UsageError
from migxai.indicators.registry import INDICATORS
from migxai.options import path

Action = Literal["run", "status", "dry_run", "reports_only", "boilerplate_only", "write_sbatch"]
Level = Literal["participant", "group"]

DESCRIPTION = (
    "Resting-state fMRI to an interpretable classification of migraine: a BIDS-App that makes indicator maps (ALFF, "
    "fALFF, ReHo, RFCS) of raw BIDS data or fMRIPrep's output, and tells groups apart by them."
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
    "learning.weights": "--weights",
    "learning.folds_file": "--folds-file",
}


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    config: Config
    level: Level = "participant"
    action: Action = "run"
    array_index: str | None = None
    predict: Path | None = None
    sbatch_group: bool = False
    argv: Sequence[str] | None = None


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


def build_parser(read: Callable[[Option], Callable[[str], Any]] | None = None) -> argparse.ArgumentParser:
    """Return the argparse parser of the table of options; only what is typed appears in the namespace it yields.

    `read` chooses what reads the values of an option (default: what the table says).
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
        help="participant: indicator maps of each subject; group: classification by the maps of all.",
    )
    groups = {key: parser.add_argument_group(title) for key, title in GROUPS.items()}
    for option in all_options():
        groups[option.group].add_argument(*_spellings(option), **_arguments(option, (read or _reader)(option)))
    return parser


def _spellings(option: Option) -> list[str]:
    underscored = [f"--{flag[2:].replace('-', '_')}" for flag in option.flags if flag.startswith("--")]
    return [*option.flags, *(flag for flag in underscored if flag not in option.flags)]


def _reader(option: Option) -> Callable[[str], Any]:
    return option.parse


def _arguments(option: Option, read: Callable[[str], Any]) -> dict[str, Any]:
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
    # Text that is only handed on has been checked by the table's own reader.
    choices = option.choices if read is option.parse else ()
    value = common | {"type": read, "metavar": option.metavar, "choices": choices or None}
    return value | {"action": "extend", "nargs": "+"} if option.kind == "list" else value


def parse(argv: Sequence[str] | None = None) -> Request:
    """Read a command line, without the program's name (default: that of this process).

    Raises `UsageError` if options contradict each other, a setting is out of range, or the configuration file can't be
    used, and argparse's `SystemExit` with 0 after ``--help`` and ``--version``, otherwise with 2.
    """
    typed = vars(build_parser().parse_args(argv))
    from migxai.cli.preflight import check_settings

    level: Level = typed.pop("analysis_level")
    if level == "group" and "indicators.indicators" in typed:
        # The same option at both levels: the maps to make, and the maps to learn from.
        typed["learning.indicators"] = typed.pop("indicators.indicators")
    named = ("status", "dry_run", "reports_only", "boilerplate_only", "write_sbatch")
    actions = [name for name in named if f"action.{name}" in typed]
    if len(actions) > 1:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in actions)
        raise UsageError(f"{names} exclude each other; give one of them.")
    config = build_config(typed)
    check_settings(config)
    action: Action = actions[0] if actions else "run"  # type: ignore[assignment]
    _check_actions(level, action, typed)
    array_index, predict = typed.get("action.array_index"), typed.get("action.predict")
    return Request(config, level, action, array_index, predict, "action.sbatch_group" in typed, argv)


def _check_actions(level: Level, action: Action, typed: dict[str, Any]) -> None:
    """Refuse what does not go together among the things to do."""
    array, group = "action.array_index" in typed, "action.sbatch_group" in typed
    problems = [
        (
            level == "group" and (array or action in ("boilerplate_only", "write_sbatch")),
            "--array-index, --boilerplate-only and --write-sbatch belong to the participant level.",
        ),
        (level == "participant" and "action.predict" in typed, "--predict belongs to the group level."),
        (
            "action.predict" in typed and action in ("status", "reports_only"),
            f"--{action.replace('_', '-')} is about what was trained here, --predict trains nothing; leave one out.",
        ),
        (
            action == "write_sbatch" and array,
            "--write-sbatch numbers the tasks of its array by itself; leave out --array-index.",
        ),
        (group and action != "write_sbatch", "--sbatch-group adds to what --write-sbatch writes; give both."),
    ]
    for problem, sentence in problems:
        if problem:
            raise UsageError(sentence)


def build_config(typed: dict[str, Any]) -> Config:
    """Merge what was typed (the namespace of `build_parser`) with a configuration file, a preset and the defaults."""
    config = _from_file(typed.get("action.config_file"), typed)
    preset = typed.get("config.preset")
    if preset is not None:
        config = _apply_preset(config, preset)
    for name in POSITIONALS:
        config = config.replace("run", **{name.partition(".")[2]: typed[name.partition(".")[2]]})
    for option in all_options():
        if option.section != "action" and option.dest in typed:
            config = option.set(config, _value(typed[option.dest]))
    if "learning.indicators" in typed:
        config = config.replace("learning", indicators=_value(typed["learning.indicators"]))
    # The order in which maps are named changes nothing, so it must not change the hash either.
    ordered = {
        "indicators": tuple(item for item in INDICATORS if item in config.indicators.indicators),
        "forms": tuple(item for item in FORMS if item in config.indicators.forms),
    }
    unknown = set(config.indicators.indicators) - set(INDICATORS) | set(config.indicators.forms) - set(FORMS)
    if unknown:
        raise UsageError(f"{', '.join(sorted(unknown))}: no such indicator or form of it (see --help).")
    return _with_extensions(config.replace("indicators", **ordered))


def _with_extensions(config: Config) -> Config:
    """Check the settings of other packages, and name those of the indicators that are made also where none was given.

    Raises `UsageError` if a setting is of no package that is installed, or does not fit.
    """
    known = {option.field: option for option in all_options() if option.section == "extensions"}
    for key, value in config.extensions.items():
        if key not in known:
            listed = f"known are {', '.join(known)}" if known else "no package that is installed has settings"
            raise UsageError(f"extensions: {key} is not a setting of an extension of migxai; {listed}.")
        config = known[key].set(config, known[key].checked(value, f"extensions: {key}"))
    for stat in config.indicators.indicators:
        for option in INDICATORS[stat].options:
            config = option.set(config, option.value(config)) if option.section == "extensions" else config
    return config


def _value(typed: Any) -> Any:
    return tuple(typed) if isinstance(typed, list) else typed


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
