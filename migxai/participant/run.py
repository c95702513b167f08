"""The participant level: from the configuration to finished subjects."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from nipype.pipeline import engine as pe

from migxai import __version__
from migxai.bids.inputs import DatasetInputs, Subject, collect_inputs
from migxai.bids.outputs import initialise_output, update_participants
from migxai.bids.records import RunRecord, SubjectRecord, describe_output, write_record
from migxai.config import Config
from migxai.data import SPACE
from migxai.errors import InputError, MigxaiError
from migxai.execution.locks import subject_lock
from migxai.execution.plugins.workflows import Crash, Execution, execute
from migxai.io import write_text
from migxai.participant.workflow import init_participant_wf
from migxai.reports.participant.methods import MethodsFacts, methods_text
from migxai.reports.participant.report import RunSummary, find_summaries, write_participant_report

logger = logging.getLogger("migxai")

#: What the work directory holds 4-D series in.
SERIES_PATTERNS = ("**/*.npy", "**/bold.nii")
#: Stands in each subject's work directory. nipype keeps results as Python objects, which only the code that made them
#: can be trusted to read.
WORK_FORMAT = f"migxai {__version__}, format 2\n"


def run_subject(config: Config, label: str, report: Callable[[str], None]) -> None:
    """Process one subject in this process, and record what became of it.

    Parameters
    ----------
    config
        The run's configuration.
    label
        The subject, without ``sub-``.
    report
        Told the name of each step as it begins.

    Raises
    ------
    MigxaiError
        If the subject, or one of its runs, could not be processed; what could be is written all the same.
    """
    errors = _run_subjects(config, (label,), report)
    if label in errors:
        raise errors[label]


def run_with_plugin(config: Config, labels: Sequence[str], plugin: dict[str, Any]) -> dict[str, MigxaiError]:
    """Process subjects through a nipype plugin (``--use-plugin``); return the error of each subject that failed.

    `plugin` holds ``plugin`` and ``plugin_args``, as in nipype's plugin files.
    """
    return _run_subjects(config, labels, lambda step: logger.info("%s", step), plugin)


def report_subject(config: Config, label: str, report: Callable[[str], None]) -> None:
    """Rebuild a subject's report from its derivatives (``--reports-only``)."""
    report("writing the report")
    _write_report(config, label)


def write_boilerplate(config: Config) -> None:
    """Write the methods paragraph as ``logs/CITATION.md`` (``--boilerplate-only``)."""
    _write_methods(config, collect_inputs(config))


def _run_subjects(
    config: Config, labels: Sequence[str], report: Callable[[str], None], plugin: dict[str, Any] | None = None
) -> dict[str, MigxaiError]:
    """Lock the subjects, find their runs, process them and record what became of each; returns the errors of some."""
    with ExitStack() as stack:
        for label in labels:
            stack.enter_context(subject_lock(_output(config), label))
        report("reading the dataset")
        inputs = collect_inputs(config.replace("selection", participant_label=tuple(labels)))
        _prepare_output(config, inputs)
        errors: dict[str, MigxaiError] = {
            subject.label: InputError(subject.failure) for subject in inputs.subjects if subject.failure is not None
        }
        ready = [subject for subject in inputs.subjects if subject.failure is None]
        if ready:
            executed = _execute(config, ready, report, plugin)
            for subject in ready:
                crashes = [crash for crash in executed.crashes if crash.subject == subject.label]
                if crashes:
                    errors[subject.label] = _combine(crashes)
                else:
                    _finish(config, subject, executed.written(subject.label))
        for label, error in errors.items():
            _record(config, SubjectRecord(label, "failed", config.resume_key(), error=str(error)))
        return errors


def _prepare_output(config: Config, inputs: DatasetInputs) -> None:
    output_dir = _output(config)
    initialise_output(output_dir, inputs.sources)
    update_participants(output_dir, inputs.participants, [subject.label for subject in inputs.subjects])
    _write_methods(config, inputs)
    for message in (*inputs.messages, *(message for subject in inputs.subjects for message in subject.messages)):
        logger.info("%s", message)


def _write_methods(config: Config, inputs: DatasetInputs) -> None:
    text = methods_text(config, methods_facts(config, inputs.mode, ())).markdown()
    write_text(_output(config) / "logs" / "CITATION.md", text)


def _execute(
    config: Config, subjects: Sequence[Subject], report: Callable[[str], None], plugin: dict[str, Any] | None
) -> Execution:
    """Run the workflow of subjects."""
    for subject in subjects:
        _renew_work(config, subject.label)
    workflow = init_participant_wf(config, subjects)
    if config.run.write_graph:
        _write_graph(workflow, config, [subject.label for subject in subjects])
    # A plugin runs the subjects side by side, so each step has to say whose it is.
    name_step = step_name if plugin is None else lambda node: f"{subject_of(node)}: {step_name(node)}"
    return execute(
        workflow,
        stop_on_first_crash=config.run.stop_on_first_crash,
        used_file=used_file(config) if config.run.resource_monitor else None,
        report=lambda node, status: report(name_step(node)) if status == "start" else None,
        **(plugin or {}),
    )


def _renew_work(config: Config, label: str) -> None:
    """Empty a subject's work directory if another version of migxai left it, and mark it as this one's."""
    folder = work_folder(config, label)
    stamp = folder / "format.txt"
    if folder.is_dir() and not (stamp.is_file() and stamp.read_text(encoding="utf-8") == WORK_FORMAT):
        logger.info("The work directory of sub-%s holds steps of another version; they are done again.", label)
        shutil.rmtree(folder)
    write_text(stamp, WORK_FORMAT)


def _write_graph(workflow: pe.Workflow, config: Config, labels: Sequence[str]) -> None:
    """Write the workflow as ``logs/<subjects>_graph.dot``, and as a picture where Graphviz is installed."""
    folder = Path(workflow.base_dir) / workflow.name
    drawn = shutil.which("dot") is not None
    try:
        workflow.write_graph(graph2use="colored", format="svg")
    except OSError:
        # nipype has written the .dot file by the time it misses the program.
        if drawn:
            raise
        logger.warning("The graph is not drawn, since Graphviz (dot) is not installed; its .dot file is written.")
    name = f"sub-{labels[0]}" if len(labels) == 1 else "workflow"
    for extension in ("dot", "svg") if drawn else ("dot",):
        text = (folder / f"graph.{extension}").read_text(encoding="utf-8")
        write_text(_output(config) / "logs" / f"{name}_graph.{extension}", text)


def _combine(crashes: Sequence[Crash]) -> MigxaiError:
    """One error for a subject: the first one's class, everybody's sentence."""
    return type(crashes[0].error)(" ".join(dict.fromkeys(str(crash.error) for crash in crashes)))


def _finish(config: Config, subject: Subject, written: Sequence[str]) -> None:
    """Write the report and the record of a subject that is complete, and free its work directory."""
    output_dir = _output(config)
    report = _write_report(config, subject.label)
    runs = tuple(
        RunRecord(run.name, run.usable, " ".join(run.exclusion) or None)
        for run in find_summaries(output_dir, subject.label)
    )
    messages = tuple(dict.fromkeys(message for run in subject.runs for message in run.messages))
    record = SubjectRecord(subject.label, "complete", config.resume_key(), runs=runs, messages=messages)
    _record(config, record, [*written, report.relative_to(output_dir).as_posix()])
    _clean(config, subject.label)


def _write_report(config: Config, label: str) -> Path:
    """Write one subject's HTML report from the figures and summaries beside it."""
    runs = find_summaries(_output(config), label)
    facts = methods_facts(config, "fmriprep" if runs[0].inputs.get("source") == "fmriprep" else "raw", runs)
    return write_participant_report(_output(config), label, runs, methods_text(config, facts))


def _record(config: Config, record: SubjectRecord, paths: Sequence[str] = ()) -> None:
    """Write what became of a subject, with the files that it got."""
    output_dir = _output(config)
    outputs = tuple(describe_output(output_dir, output_dir / path) for path in sorted(paths))
    roots = {"<output_dir>": output_dir, "<bids_dir>": config.run.bids_dir, "<work_dir>": config.run.work_dir}
    write_record(
        output_dir,
        dataclasses.replace(record, outputs=outputs),
        roots={name: path for name, path in roots.items() if path is not None},
    )


def _clean(config: Config, label: str) -> None:
    """Free the work directory of a finished subject, as far as ``--keep`` allows."""
    folder = work_folder(config, label)
    if config.run.keep == "none" and folder.is_dir():
        shutil.rmtree(folder)
    elif config.run.keep == "some":
        for pattern in SERIES_PATTERNS:
            for path in folder.glob(pattern):
                path.unlink()


def _output(config: Config) -> Path:
    assert config.run.output_dir is not None, "the command line has named it"
    return config.run.output_dir


def work_folder(config: Config, label: str) -> Path:
    """Where the steps of a subject keep their results."""
    assert config.run.work_dir is not None, "the command line has named it"
    return config.run.work_dir / "migxai_wf" / f"sub_{label}_wf"


def used_file(config: Config) -> Path:
    """Where ``--resource-monitor`` writes what the steps used: into the logs beside the subject's work directory."""
    assert config.run.work_dir is not None, "the command line has named it"
    return config.run.work_dir.parent / "logs" / f"{config.run.work_dir.name}_steps.json"


def subject_of(node: str) -> str:
    """Name the subject of a node: that of ``migxai_wf.sub_01_wf.task_rest_wf.denoise`` is ``sub-01``."""
    return node.split(".")[1].removesuffix("_wf").replace("_", "-", 1)


def step_name(node: str) -> str:
    """Name a node for the progress display: ``migxai_wf.sub_01_wf.task_rest_wf.denoise`` is ``task_rest denoise``."""
    parts = [part.removesuffix("_wf") for part in node.split(".")[2:]]
    return " ".join(part for part in parts if part != "raw")


def methods_facts(config: Config, source: Literal["raw", "fmriprep"], runs: Sequence[RunSummary]) -> MethodsFacts:
    """Gather what the methods paragraph may claim: what all runs have in common; without runs, the plan alone."""
    if not runs:
        space = config.preprocessing.space or SPACE
        return MethodsFacts(__version__, source, space=space)
    steps = [{step.name: step.status for step in run.steps} for run in runs]

    def common(name: str) -> bool | None:
        found = {item.get(name, "skipped") == "done" for item in steps}
        return found.pop() if len(found) == 1 and source == "raw" else None

    dropped = {int(run.numbers["Volumes dropped at the start"] or 0) for run in runs}
    return MethodsFacts(
        __version__,
        source,
        space=runs[0].parameters["Space"],
        slice_timing=common("Slice timing"),
        anatomical=common("T1w to template"),
        brain_extraction=common("Brain extraction"),
        n_dropped=dropped.pop() if len(dropped) == 1 else None,
        n_excluded=sum(not run.usable for run in runs),
    )
