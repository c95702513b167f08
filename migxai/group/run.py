"""The group level from top to bottom: from the maps of all to predictions, scores, models and a report."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence

from migxai.bids.records import without_paths
from migxai.config import Config
from migxai.errors import InputError
from migxai.evaluation.results import GroupFolder, read_description, write_if_any, write_predictions, write_scores
from migxai.execution.environment import explain
from migxai.execution.locks import group_lock, lock_state
from migxai.group.audit import check_jobs, write_audit
from migxai.group.explain import explain_jobs
from migxai.group.features import check_networks, feature_jobs, keep_arrays
from migxai.group.fit import Experiment, fit_jobs, list_experiments, permutation_jobs
from migxai.group.job import FailedJob, Job, Workspace, run_jobs
from migxai.group.plan import Plan, begin_output, make_plan, work_folder, write_plan
from migxai.group.report import write_explanations
from migxai.group.score import learning_curve_table, permutation_table, prediction_tables, save_models, tested_folds
from migxai.io import write_json
from migxai.reports.group.report import read_checks, write_report

Report = Callable[[str], None]

UNFINISHED = "The group level was started and has not ended; start it again, and it goes on from there."


def run_group(config: Config, processes: int, memory_gb: float, report: Report) -> list[str]:
    """Run the group level; returns a sentence for each part that failed. What did not fail is written.

    `processes` and `memory_gb` may be used at once; `report` is told what goes on, in sentences. A MigxaiError says
    that nothing can be computed.
    """
    assert config.run.output_dir is not None
    with group_lock(config.run.output_dir):
        plan = make_plan(config)
        folder = GroupFolder.of(begin_output(config))
        experiments = list_experiments(plan, config)
        for line in (*_describe(plan, config, experiments), *check_networks(plan, config, folder.features)):
            report(line)
        write_plan(folder, plan, config)
        work = work_folder(config, plan)
        arrays = keep_arrays(plan, work, folder)
        workspace = Workspace(config.learning, config.random_seed, arrays, work / "folds")
        jobs = list_jobs(plan, config, experiments, workspace)
        failed = run_jobs(jobs, config, work, (processes, memory_gb), report)
        report("Scoring the predictions")
        _write_results(config, plan, experiments, workspace, failed, report)
        if not failed and config.run.keep == "none":
            shutil.rmtree(work)
            if not any(work.parent.iterdir()):
                work.parent.rmdir()
        return [str(job) for job in failed]


def list_jobs(plan: Plan, config: Config, experiments: Sequence[Experiment], workspace: Workspace) -> list[Job]:
    """List everything that takes long, in the order of the story: features, fits, explanations, checks."""
    features = feature_jobs(plan, workspace)
    fits = fit_jobs(experiments, workspace, features)
    explanations = explain_jobs(experiments, config, workspace)
    checks = check_jobs(explanations, config, workspace)
    permutations = permutation_jobs(experiments, config, workspace, features)
    return [*features, *fits, *explanations, *checks, *permutations]


def _write_results(
    config: Config,
    plan: Plan,
    experiments: Sequence[Experiment],
    workspace: Workspace,
    failed: Sequence[FailedJob],
    report: Report,
) -> None:
    """Write what the jobs found: predictions, scores, models, explanations, checks and the report.

    An error of a job is raised again if no experiment of the models that were asked for is complete.
    """
    assert config.run.output_dir is not None
    folder, folds = GroupFolder.of(config.run.output_dir), workspace.folds
    description = read_description(folder) | {
        "State": "failed" if failed else "complete",
        "Failures": [_portable(str(job), config) for job in failed],
    }
    subjects, slices = prediction_tables(tested_folds(experiments, workspace), config.learning.vote)
    write_predictions(folder, subjects, slices)
    if subjects.empty:
        write_json(folder.description, description)
        raise failed[0].error
    scores = write_scores(folder, description)
    write_if_any(folder.file("permutations.tsv"), permutation_table(experiments, config, folds))
    write_if_any(folder.file("learning_curve.tsv"), learning_curve_table(experiments, workspace, subjects))
    # Models of an earlier run are not those of the predictions beside them.
    if folder.models.is_dir():
        shutil.rmtree(folder.models)
    if config.learning.save_models != "none":
        save_models(folder.models, plan, experiments, workspace, scores)
    warnings = write_audit(folder, config, experiments, folds)
    for line in write_explanations(folder, config, plan, experiments, folds, warnings):
        report(line)
    write_json(folder.description, description)
    report(f"Writing group/{write_report(folder).name}")
    if set(config.learning.models).isdisjoint(subjects["model"]):
        raise failed[0].error  # the baselines that always run are no answer to what was asked


def _portable(text: str, config: Config) -> str:
    """Take the machine's paths out of a sentence that is kept in the output."""
    run = config.run
    roots = {"<bids_dir>": run.bids_dir, "<output_dir>": run.output_dir, "<work_dir>": run.work_dir}
    return without_paths(text, {word: path for word, path in roots.items() if path is not None})


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
    assert config.run.output_dir is not None
    lines = check_networks(plan, config, GroupFolder.of(config.run.output_dir).features)
    return [*_describe(plan, config, list_experiments(plan, config)), *lines]


def _describe(plan: Plan, config: Config, experiments: Sequence[Experiment]) -> list[str]:
    """Describe a plan: messages, who is compared, and how much there is to do."""
    lines = list(plan.messages)
    for part in plan.comparisons:
        table = plan.cohort.class_table(part.comparison, config.learning.cv, config.learning.folds)
        lines += [f"{part.comparison.text}:", *(f"  {row}" for row in table.to_string(index=False).splitlines())]
    folds = sum(len(experiment.folds or ()) for experiment in experiments)
    slices = plan.template.geometry
    lines.append(
        f"{len(plan.cohort.people)} people, {len(plan.cohort.left_out)} left out; {', '.join(plan.maps)}; "
        f"{len(slices.indices)} {slices.axis} slices from {slices.heights_mm[0]:g} to {slices.heights_mm[-1]:g} mm; "
        f"models {', '.join(plan.models)}; {folds} folds in all."
    )
    return lines


def group_status(config: Config) -> list[str]:
    """Say what is missing from the group level (``--status``): a sentence for each part, none if it is complete."""
    assert config.run.output_dir is not None
    folder = GroupFolder.of(config.run.output_dir)
    if not folder.description.is_file():
        return ["The group level has not been run, or was ended before its cohort was read."]
    description = read_description(folder)
    if description["State"] == "running":
        lock = lock_state(config.run.output_dir, "group")
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
