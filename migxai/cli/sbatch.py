"""A ready SLURM script for a dataset (``--write-sbatch``): one task of a job array for each participant."""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from migxai import __version__
from migxai.cli.options import Option, all_options
from migxai.cli.parser import build_parser
from migxai.config import Config, directories
from migxai.data import packaged
from migxai.errors import InputError
from migxai.execution.environment import MAX_THREADS
from migxai.learning.estimators import is_deep
from migxai.options import bids_filters, derivative, path, plugin, weights
from migxai.participant.resources import estimate

#: CPUs of a task, unless --nprocs says otherwise: one subject makes good use of two.
CPUS, GROUP_CPUS = 2, 4
#: Beyond the estimate: memory, and time, since other machines are slower and network drives busy.
MEMORY_MARGIN, TIME_MARGIN = 1.25, 4.0
LEAST_MINUTES, ROUND_MINUTES, ROUND_MB = 15, 5, 100
#: Seconds of one core for a person, kind of map, network and trial with default settings, and GB of a process.
GROUP_SECONDS, GROUP_GB_A_PROCESS = 14.0, 2.5

#: What only this call is about, and what the script itself decides.
_NOT_HANDED_ON = ("action.write_sbatch", "action.sbatch_group", "run.nprocs", "run.mem_gb", "run.use_plugin")
#: Readers of options that name a file or directory: the script has to name it from the root.
_PLACES: dict[Callable[[str], Any], Callable[[str], str]] = {
    path: lambda text: str(path(text)),
    weights: lambda text: str(weights(text)),
    plugin: lambda text: str(plugin(text)),
    bids_filters: lambda text: str(path(text)),
    derivative: lambda text: "=".join(map(str, derivative(text))),
}


def sbatch_script(
    config: Config,
    subjects: Sequence[str],
    argv: Sequence[str] | None,
    *,
    group: bool,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Write the script: one task for each of the subjects, which are all participants.

    It hands on the options of the command line `argv` (default: this process's). Raises `InputError` if no run's header
    can be read, so that nothing can be estimated.
    """
    from jinja2 import Environment

    environment = os.environ if environment is None else environment
    need = estimate(config, subjects)
    if need is None:
        raise InputError("No BOLD image of the selected subjects can be read, so memory and time can't be estimated.")
    cpus = min(config.run.nprocs or CPUS, MAX_THREADS)
    words = given_words(argv)
    places = [str(item) for item in directories(config)[:2]]
    template = Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False).from_string(
        packaged("cluster", "array.sh.j2").read_text(encoding="utf-8")
    )
    return (
        template.render(
            version=__version__,
            tasks=len(subjects),
            cpus=cpus,
            memory_mb=_memory_mb(need.memory_gb),
            time=_time(need.seconds * CPUS / min(cpus, CPUS)),
            image=environment.get("APPTAINER_CONTAINER", environment.get("SINGULARITY_CONTAINER", "")),
            binds=binds(config, words),
            folders=[shlex.quote(str(folder)) for folder in dict.fromkeys(directories(config)[1:])],
            program=f"{shlex.quote(sys.executable)} -m migxai",
            words=shlex.join([*places, "participant", *words]),
            status=shlex.join(["migxai", *places, "participant", *words, "--status"]),
            status_words=shlex.join([*places, "participant", *words, "--status"]),
            group=_group(config, len(subjects), [*places, "group", *words]) if group else None,
        )
        + "\n"
    )


def given_words(argv: Sequence[str] | None) -> list[str]:
    """Return the options of a command line that the parser has accepted as it was typed, every path from the root."""
    typed = vars(build_parser(read=lambda option: _PLACES.get(option.parse, str)).parse_args(argv))
    words: list[str] = []
    for option in all_options():
        if option.dest in typed and option.dest not in _NOT_HANDED_ON:
            words += _spell(option, typed.pop(option.dest))
    return words


def _spell(option: Option, value: Any) -> list[str]:
    flag = option.flags[0]
    if option.kind == "switch":
        return [flag if value else f"--no-{flag.removeprefix('--')}"]
    if option.kind in ("flag", "count"):
        return [flag] * int(value)
    return [flag, *map(str, value)] if isinstance(value, list) else [flag, str(value)]


def binds(config: Config, words: Sequence[str]) -> list[str]:
    """Return what a container has to see, as Apptainer's ``--bind`` takes it: each folder under its own name.

    Inputs can only be read. Folders that lie in others come after these.
    """
    bids_dir, output_dir, work_dir = directories(config)
    writable = [output_dir, work_dir, *([config.run.bids_database_dir] if config.run.bids_database_dir else [])]
    readable = {bids_dir, *(place for _, place in config.run.derivatives)}
    for word in words:
        named = Path(word.partition("=")[2] or word)
        if named.is_absolute() and named.exists() and named not in writable:
            readable.add(named)
    found = dict.fromkeys(readable, "ro") | dict.fromkeys(writable, "rw")
    kept: list[str] = []
    for place in sorted(found, key=lambda item: item.parts):
        above = [other for other in found if other in place.parents and found[other] == found[place]]
        if not above:
            kept.append(shlex.quote(f"{place}:{place}:{found[place]}"))
    return kept


def _group(config: Config, people: int, words: Sequence[str]) -> dict[str, Any]:
    """Estimate the group level; it is the wider guess, and --dry-run of that level says what there is to do."""
    learning = config.learning
    networks = sum(is_deep(model) for model in learning.models)
    cpus = config.run.nprocs or GROUP_CPUS
    seconds = GROUP_SECONDS * people * len(learning.indicators) * learning.trials * max(networks, 0.1) / cpus
    return {
        "cpus": cpus,
        "memory_mb": _memory_mb(1 + GROUP_GB_A_PROCESS * cpus),
        "time": _time(seconds),
        "words": shlex.join(words),
    }


def _memory_mb(gigabytes: float) -> int:
    return math.ceil(gigabytes * 1000 * MEMORY_MARGIN / ROUND_MB) * ROUND_MB


def _time(seconds: float) -> str:
    minutes = max(LEAST_MINUTES, math.ceil(seconds * TIME_MARGIN / 60 / ROUND_MINUTES) * ROUND_MINUTES)
    days, minutes = divmod(minutes, 24 * 60)
    return f"{f'{days}-' if days else ''}{minutes // 60:02d}:{minutes % 60:02d}:00"
