"""Write the Boutiques descriptor, ``migxai.json``, from the table of options; with ``--check`` only compare.

``bosh validate --bids`` wants a command line of its own form, and the output directory twice: as a name, and as the
directory of an earlier participant level. Of two inputs with one key bosh fills in the first alone, so callers give the
name at both levels, as the examples do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from migxai import __version__, options
from migxai.cli.options import GROUPS, Option, all_options
from migxai.cli.parser import DESCRIPTION
from migxai.options import count, number, whole

FILE = Path(__file__).with_name("migxai.json")

#: Of the options, those that a caller of a tool has no use for.
LEFT_OUT = ("action.version", "action.notrack", "action.md_only_boilerplate")
#: In front of all others, as bosh's template wants them.
FIRST = ("participant_label", "session_label")
#: What the readers of values make of text; everything else stays text.
NUMBERS: dict[Callable[[str], Any], dict[str, Any]] = {
    number: {},
    whole: {"integer": True, "minimum": 0},
    count: {"integer": True, "minimum": 1},
    options.memory_gb: {"minimum": 0},
    options.memory_mb: {"minimum": 0},
}
PATHS = (options.path, options.bids_filters)
CODES = {
    1: "Some subjects failed and the others are complete, or --status found gaps.",
    2: "Wrong usage: unknown option or label, or an output that can't be written or is locked.",
    3: "The input can't be used: no subject could be processed, or weights or labels are missing.",
    5: "Out of memory or disk, a killed worker included.",
    70: "Internal error.",
}


def main(arguments: list[str]) -> int:
    """Write or check the descriptor; returns 0, or 1 if the file is not what it should be."""
    text = json.dumps(descriptor(), indent=2, ensure_ascii=False) + "\n"
    if arguments == ["--check"]:
        if FILE.is_file() and FILE.read_text(encoding="utf-8") == text:
            return 0
        sys.stderr.write(f"{FILE.name} is not what the options yield; run python boutiques/generate.py\n")
        return 1
    FILE.write_text(text, encoding="utf-8")
    return 0


def descriptor() -> dict[str, Any]:
    """Return the descriptor of the command line."""
    inputs = [item for option in all_options() if option.dest not in LEFT_OUT for item in inputs_of(option)]
    inputs.sort(key=lambda item: FIRST.index(item["id"]) if item["id"] in FIRST else len(FIRST))
    keys = " ".join(item["value-key"] for item in inputs)
    return {
        "name": "migxai",
        "description": DESCRIPTION,
        "tool-version": __version__,
        "schema-version": "0.5",
        "command-line": f"mkdir -p [OUTPUT_DIR]; migxai [BIDS_DIR] [OUTPUT_DIR] [ANALYSIS_LEVEL] {keys}",
        "container-image": {"type": "docker", "image": f"migxai:{__version__}"},
        "inputs": [*positionals(), *inputs],
        "groups": list(groups()),
        "output-files": [
            {
                "id": "output_dir",
                "name": "Output directory",
                "description": "The derivative dataset.",
                "path-template": "[OUTPUT_DIR]",
                "optional": False,
            }
        ],
        "error-codes": [{"code": code, "description": text} for code, text in CODES.items()],
        "suggested-resources": {"cpu-cores": 2, "ram": 4, "walltime-estimate": 900},
        "tags": {"domain": ["neuroinformatics", "fmri", "bids-app"]},
    }


def positionals() -> list[dict[str, Any]]:
    """Return the inputs that have no option's name."""
    earlier = "For validation as a BIDS app; give output_dir_name at both levels, since bosh fills in only that."
    return [
        _input("bids_dir", "BIDS directory", "File", "The BIDS dataset, raw or from fMRIPrep.", optional=False),
        _input(
            "output_dir_name", "Output directory name", "String", "Where the derivative dataset is written.",
            value_key="[OUTPUT_DIR]",
        ),
        _input("participant_level_analysis_dir", "Participants dir", "File", earlier, value_key="[OUTPUT_DIR]"),
        _input(
            "analysis_level", "Analysis level", "String",
            "participant: indicator maps of each subject; group: classification by the maps of all.",
            optional=False, **{"value-choices": ["participant", "group"]},
        ),
    ]  # fmt: skip


def groups() -> Iterable[dict[str, Any]]:
    """Yield which inputs exclude each other."""
    yield {
        "id": "output",
        "name": "Output directory",
        "description": "A new name, or the directory of an earlier run.",
        "members": ["output_dir_name", "participant_level_analysis_dir"],
        "mutually-exclusive": True,
        "one-is-required": True,
    }
    actions = [identifier(option) for option in all_options() if option.section == "action" and option.kind == "flag"]
    told = {identifier(option) for option in all_options() if option.dest in LEFT_OUT} | {"sbatch_group"}
    yield {
        "id": "what_to_do",
        "name": "What to do instead of a run",
        "members": [action for action in actions if action not in told],
        "mutually-exclusive": True,
    }
    for option in all_options():
        if option.kind == "switch":
            name = identifier(option)
            yield {
                "id": f"{name}_switch",
                "name": option.flags[0],
                "members": [name, f"no_{name}"],
                "mutually-exclusive": True,
            }


def identifier(option: Option) -> str:
    """Return an option's name as Boutiques allows it."""
    long = next(flag for flag in option.flags if flag.startswith("--"))
    return long[2:].replace("-", "_")


def inputs_of(option: Option) -> Iterable[dict[str, Any]]:
    """Yield the input of an option, or of a switch both."""
    name, flag = identifier(option), next(flag for flag in option.flags if flag.startswith("--"))
    default = option.default_text()
    help_text = f"{option.help} ({GROUPS[option.group]}{f'; default: {default}' if default else ''})"
    more: dict[str, Any] = {"command-line-flag": flag}
    if option.kind in ("flag", "switch", "count"):
        yield _input(name, flag[2:], "Flag", help_text, **more)
        if option.kind == "switch":
            yield _input(
                f"no_{name}", f"no-{flag[2:]}", "Flag", f"The opposite of {flag}.",
                **{"command-line-flag": f"--no-{flag[2:]}"},
            )  # fmt: skip
        return
    kind = "Number" if option.parse in NUMBERS else "File" if option.parse in PATHS else "String"
    more |= NUMBERS.get(option.parse, {})
    if option.choices:
        kind = "String" if isinstance(option.choices[0], str) else "Number"
        more["value-choices"] = list(option.choices)
    if option.kind == "list":
        more |= {"list": True, "list-separator": " "}
    yield _input(name, flag[2:], kind, help_text, **more)


def _input(
    name: str,
    title: str,
    kind: str,
    description: str,
    *,
    optional: bool = True,
    value_key: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    return {
        "id": name,
        "name": title,
        "type": kind,
        "description": description,
        "value-key": value_key or f"[{name.upper()}]",
        "optional": optional,
        **more,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
