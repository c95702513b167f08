"""The group level: from the maps of all to predictions, scores and models under ``group`` in the output."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from migxai.bids.outputs import initialise_output
from migxai.bids.records import without_paths
from migxai.config import Config
from migxai.errors import InputError
from migxai.evaluation.group_folder import GroupFolder, read_description, write_if_any, write_predictions, write_scores
from migxai.execution.locks import group_lock, group_lock_state
from migxai.execution.plugins.engine import Crash, execute, read_plugin
from migxai.execution.plugins.pool import PoolPlugin
from migxai.execution.scheduler import explain
from migxai.group.explanations import explain_group
from migxai.group.features import MapArrays
from migxai.group.files import keep_arrays, work_folder, write_plan
from migxai.group.fit import Unit
from migxai.group.learning_curves import learning_curve_table
from migxai.group.plan import Plan, make_plan, sources
from migxai.group.prediction_tables import prediction_tables
from migxai.group.score import permutation_table, save_models, tested_folds
from migxai.group.workflow import check_networks, init_group_wf, make_units
from migxai.io import write_json
from migxai.reports.group.report import read_checks, write_report

Report = Callable[[str], None]

UNFINISHED = "The group level was started and has not ended; start it again, and it goes on from there."


def run_group(config: Config, processes: int, memory_gb: float, report: Report) -> list[str]:
    """Run the group level.

    Parameters
    ----------
    config
        The run's configuration.
    processes, memory_gb
        What may be used at once.
    report
        Told what goes on, in sentences.

    Returns
    -------
    list of str
        A sentence for each part that failed; what did not fail is written.

    Raises
    ------
    MigxaiError
        If nothing can be computed.
    """
    assert config.run.output_dir is not None
    with group_lock(config.run.output_dir):
        plan = make_plan(config)
        folder = GroupFolder.of(config.run.output_dir)
        if not (config.run.output_dir / "dataset_description.json").is_file():
            initialise_output(config.run.output_dir, sources(config))
        units = make_units(plan, config)
        for line in (*describe(plan, config, units), *check_networks(plan, config, folder.features)):
            report(line)
        write_plan(folder, plan, config)
        work = work_folder(config, plan)
        arrays = keep_arrays(plan, work, folder)
        crashes = _execute(config, units, arrays, work, (processes, memory_gb), report)
        report("Scoring the predictions")
        failures = _finish(config, plan, units, arrays, work / "folds", crashes, report)
        if not failures and config.run.keep == "none":
            shutil.rmtree(work)
            _remove_empty(work.parent)
        return failures


def score_group(config: Config) -> list[str]:
    """Write the scores and their tables anew from the predictions that are there (``--reports-only``)."""
    assert config.run.output_dir is not None
    with group_lock(config.run.output_dir):
        folder = GroupFolder.of(config.run.output_dir)
        description = read_description(folder)
        if description["State"] == "running":
            raise InputError(f"{UNFINISHED} Its scores can be written once it has.")
        scores = write_scores(folder, description)
        page = write_report(folder)
    return [f"Scores of {len(scores.document['units'])} units and group/{page.name} are written anew."]


def describe_group(config: Config) -> list[str]:
    """Say what would be run (``--dry-run``); nothing is written."""
    plan = make_plan(config)
    units = make_units(plan, config)
    assert config.run.output_dir is not None
    lines = check_networks(plan, config, GroupFolder.of(config.run.output_dir).features)
    return [*describe(plan, config, units), *lines]


def group_status(config: Config) -> list[str]:
    """Say what is missing from the group level (``--status``): a sentence for each part, none if it is complete."""
    assert config.run.output_dir is not None
    folder = GroupFolder.of(config.run.output_dir)
    if not folder.description.is_file():
        return ["The group level has not been run, or was ended before its cohort was read."]
    description = read_description(folder)
    if description["State"] == "running":
        lock = group_lock_state(config.run.output_dir)
        if lock is None:
            return [UNFINISHED]
        if lock.alive is not False:
            return [f"The group level is being run ({lock.who})."]
        return [f"{explain(lock.job)}. {UNFINISHED}"]
    return [str(item) for item in description["Failures"]]


def failed_checks(config: Config) -> list[str]:
    """Say which checks of the results and of the maps failed (``--strict``)."""
    assert config.run.output_dir is not None
    checks = read_checks(GroupFolder.of(config.run.output_dir))
    return [": ".join(filter(None, (check.name, check.of, check.value))) for check in checks if check.passed is False]


def describe(plan: Plan, config: Config, units: Sequence[Unit]) -> list[str]:
    """Describe a plan: messages, who is compared, and how much there is to do."""
    lines = list(plan.messages)
    for task in plan.tasks:
        table = plan.roster.class_table(task.comparison, config.learning.cv, config.learning.folds)
        lines += [f"{task.comparison.text}:", *(f"  {row}" for row in table.to_string(index=False).splitlines())]
    folds = sum(len(unit.folds or ()) for unit in units)
    slices = plan.template.geometry
    lines.append(
        f"{len(plan.roster.people)} people, {len(plan.roster.left_out)} left out; {', '.join(plan.maps)}; "
        f"{len(slices.indices)} {slices.axis} slices from {slices.heights_mm[0]:g} to {slices.heights_mm[-1]:g} mm; "
        f"models {', '.join(plan.models)}; {folds} folds in all."
    )
    return lines


def _execute(
    config: Config,
    units: Sequence[Unit],
    arrays: dict[str, MapArrays],
    work: Path,
    room: tuple[int, float],
    report: Report,
) -> list[Crash]:
    workflow = init_group_wf(config, units, arrays, str(work / "folds"), base_dir=str(work))
    directory = config.run.work_dir or Path(str(config.run.output_dir)) / ".work"
    total, done = sum(not node.name.endswith("_ready") for node in workflow._get_all_nodes()), 0

    def tell(name: str, status: str) -> None:
        nonlocal done
        if status == "end" and not name.endswith("_ready"):
            done += 1
            report(f"{name.split('.')[-1].replace('_', ' ')}: done ({done} of {total})")

    plugin: dict[str, Any]
    if config.run.use_plugin is None:
        plugin = {"plugin": PoolPlugin(*room, report=lambda node, status: tell(node.name, status))}
    else:
        plugin = read_plugin(config.run.use_plugin) | {"report": tell}
    return execute(
        workflow,
        stop_on_first_crash=config.run.stop_on_first_crash,
        used_file=directory / "logs" / "group_steps.json" if config.run.resource_monitor else None,
        **plugin,
    ).crashes


def _finish(
    config: Config,
    plan: Plan,
    units: Sequence[Unit],
    arrays: Mapping[str, MapArrays],
    folds: Path,
    crashes: Sequence[Crash],
    report: Report,
) -> list[str]:
    """Write what the units found; returns a sentence for each failure.

    Raises
    ------
    MigxaiError
        If no unit of the models that were asked for is complete.
    """
    assert config.run.output_dir is not None
    folder = GroupFolder.of(config.run.output_dir)
    subjects, slices = prediction_tables(tested_folds(units, arrays, folds), config.learning.vote)
    failures = [f"{crash.node.split('.')[-1]}: {crash.error}" for crash in crashes]
    description = read_description(folder) | {
        "State": "failed" if failures else "complete",
        "Failures": [_portable(text, config) for text in failures],
    }
    write_predictions(folder, subjects, slices)
    if subjects.empty:
        write_json(folder.description, description)
        raise crashes[0].error
    scores = write_scores(folder, description)
    write_if_any(folder.file("permutations.tsv"), permutation_table(units, config, folds))
    write_if_any(folder.file("learning_curve.tsv"), learning_curve_table(plan, units, config, subjects))
    # Models of an earlier run are not those of the predictions beside them.
    if folder.models.is_dir():
        shutil.rmtree(folder.models)
    if config.learning.save_models != "none":
        save_models(folder.models, config, plan, units, arrays, folds, scores)
    for line in explain_group(folder, config, plan, units, folds):
        report(line)
    write_json(folder.description, description)
    report(f"Writing group/{write_report(folder).name}")
    asked = set(config.learning.models)
    if asked.isdisjoint(subjects["model"]):
        raise crashes[0].error  # the baselines that always run are no answer to what was asked
    return failures


def _portable(text: str, config: Config) -> str:
    """Take the machine's paths out of a sentence that is kept in the output."""
    run = config.run
    roots = {"<bids_dir>": run.bids_dir, "<output_dir>": run.output_dir, "<work_dir>": run.work_dir}
    return without_paths(text, {word: path for word, path in roots.items() if path is not None})


def _remove_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()
