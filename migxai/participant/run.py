"""The participant level: from the configuration to finished subjects."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nipype.pipeline import engine as pe

from migxai.bids.inputs import DatasetInputs, Subject, collect_inputs
from migxai.bids.outputs import initialise_output
from migxai.bids.participants import update_participants
from migxai.bids.records import RunRecord, SubjectRecord, describe_output, write_record
from migxai.config import Config
from migxai.errors import InputError, MigxaiError
from migxai.execution.locks import subject_lock
from migxai.execution.plugins.engine import Crash, Execution, execute
from migxai.io import write_text
from migxai.participant.interfaces.reports import methods_facts
from migxai.participant.workflows.subject import init_subject_wf
from migxai.reports.participant.methods import methods_html, methods_markdown
from migxai.reports.participant.report import write_participant_report
from migxai.reports.participant.run_summary import find_summaries

logger = logging.getLogger("migxai")

#: What the work directory holds 4-D series in.
SERIES_PATTERNS = ("**/*.npy", "**/bold.nii")


def init_participant_wf(config: Config, subjects: Sequence[Subject]) -> pe.Workflow:
    """Put the workflows of several subjects side by side.

    Parameters
    ----------
    config
        The run's configuration, with its output and work directories.
    subjects
        Subjects that have runs.

    Returns
    -------
    nipype.pipeline.engine.Workflow
    """
    workflow = pe.Workflow(name="migxai_wf", base_dir=str(config.run.work_dir))
    workflow.add_nodes([init_subject_wf(config, subject) for subject in subjects])
    return workflow


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
    assert config.run.output_dir is not None
    with subject_lock(config.run.output_dir, label):
        report("reading the dataset")
        inputs = collect_inputs(config.replace("selection", participant_label=(label,)))
        _prepare_output(config, inputs)
        errors = _process(config, inputs, report)
        if label in errors:
            raise errors[label]


def run_with_plugin(config: Config, labels: Sequence[str], plugin: dict[str, Any]) -> dict[str, MigxaiError]:
    """Process subjects through a nipype plugin (``--use-plugin``).

    Parameters
    ----------
    config
        The run's configuration.
    labels
        Subjects, without ``sub-``.
    plugin
        ``plugin`` and ``plugin_args``, as in nipype's plugin files.

    Returns
    -------
    dict
        The error of each subject that failed.
    """
    from contextlib import ExitStack

    assert config.run.output_dir is not None
    with ExitStack() as stack:
        for label in labels:
            stack.enter_context(subject_lock(config.run.output_dir, label))
        inputs = collect_inputs(config.replace("selection", participant_label=tuple(labels)))
        _prepare_output(config, inputs)
        return _process(config, inputs, lambda step: logger.info("%s", step), plugin)


def report_subject(config: Config, label: str, report: Callable[[str], None]) -> None:
    """Rebuild a subject's report from its derivatives (``--reports-only``)."""
    assert config.run.output_dir is not None
    report("writing the report")
    write_report(config, label)


def write_boilerplate(config: Config) -> None:
    """Write ``logs/CITATION.md`` and print it (``--boilerplate-only``)."""
    inputs = collect_inputs(config)
    text = methods_markdown(config, methods_facts(config, inputs.mode, ()))
    assert config.run.output_dir is not None
    write_text(config.run.output_dir / "logs" / "CITATION.md", text)


def write_report(config: Config, label: str) -> Path:
    """Write one subject's HTML report from the figures and summaries beside it."""
    assert config.run.output_dir is not None
    runs = find_summaries(config.run.output_dir, label)
    facts = methods_facts(config, "fmriprep" if "fMRIPrep" in runs[0].inputs.get("source", "") else "raw", runs)
    return write_participant_report(config.run.output_dir, label, runs, methods_html(config, facts))


def _prepare_output(config: Config, inputs: DatasetInputs) -> None:
    assert config.run.output_dir is not None
    initialise_output(config.run.output_dir, inputs.sources)
    update_participants(config.run.output_dir, inputs.participants, [subject.label for subject in inputs.subjects])
    text = methods_markdown(config, methods_facts(config, inputs.mode, ()))
    write_text(config.run.output_dir / "logs" / "CITATION.md", text)
    for message in inputs.messages:
        logger.info("%s", message)


def _process(
    config: Config, inputs: DatasetInputs, report: Callable[[str], None], plugin: dict[str, Any] | None = None
) -> dict[str, MigxaiError]:
    """Run the workflow of the subjects that can be processed; returns each failed subject's error."""
    errors: dict[str, MigxaiError] = {}
    ready = []
    for subject in inputs.subjects:
        for message in subject.messages:
            logger.info("%s", message)
        if subject.failure is None:
            ready.append(subject)
        else:
            errors[subject.label] = InputError(subject.failure)
    executed = Execution()
    # A plugin runs the subjects side by side, so each step has to say whose it is.
    name_step = step_name if plugin is None else lambda node: f"{subject_of(node)}: {step_name(node)}"
    if ready:
        workflow = init_participant_wf(config, ready)
        if config.run.write_graph:
            _write_graph(workflow, config, [subject.label for subject in ready])
        executed = execute(
            workflow,
            stop_on_first_crash=config.run.stop_on_first_crash,
            used_file=used_file(config) if config.run.resource_monitor else None,
            report=lambda node, status: report(name_step(node)) if status == "start" else None,
            **(plugin or {}),
        )
    for subject in ready:
        error = _finish(config, subject, executed)
        if error is not None:
            errors[subject.label] = error
    for label, error in errors.items():
        _record(config, (), SubjectRecord(label, "failed", config.resume_key(), error=str(error)))
    return errors


def _write_graph(workflow: pe.Workflow, config: Config, labels: Sequence[str]) -> None:
    """Write the workflow as ``logs/<subjects>_graph.dot``, and as a picture where Graphviz is installed."""
    assert config.run.output_dir is not None
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
        write_text(config.run.output_dir / "logs" / f"{name}_graph.{extension}", text)


def _finish(config: Config, subject: Subject, executed: Execution) -> MigxaiError | None:
    """Write a subject's report and record; returns its error, if it has one."""
    crashes = [crash for crash in executed.crashes if crash.subject == subject.label]
    if crashes:
        return _combine(crashes)
    assert config.run.output_dir is not None
    report = write_report(config, subject.label)
    paths = [*executed.written(subject.label), report.relative_to(config.run.output_dir).as_posix()]
    runs = tuple(
        RunRecord(run.name, run.usable, " ".join(run.exclusion) or None)
        for run in find_summaries(config.run.output_dir, subject.label)
    )
    messages = tuple(dict.fromkeys(item for run in subject.runs for item in run.messages))
    _record(config, paths, SubjectRecord(subject.label, "complete", config.resume_key(), runs=runs, messages=messages))
    _clean(config, subject.label)
    return None


def _combine(crashes: Sequence[Crash]) -> MigxaiError:
    """One error for a subject: the first one's class, everybody's sentence."""
    first = crashes[0].error
    return type(first)(" ".join(dict.fromkeys(str(crash.error) for crash in crashes)))


def _record(config: Config, paths: Sequence[str], record: SubjectRecord) -> None:
    import dataclasses

    output_dir = config.run.output_dir
    assert output_dir is not None
    outputs = tuple(describe_output(output_dir, output_dir / path) for path in sorted(paths))
    roots = {"<output_dir>": output_dir, "<bids_dir>": config.run.bids_dir, "<work_dir>": config.run.work_dir}
    write_record(
        output_dir,
        dataclasses.replace(record, outputs=outputs),
        roots={name: path for name, path in roots.items() if path is not None},
    )


def _clean(config: Config, label: str) -> None:
    """Free the work directory of a finished subject, as far as ``--keep`` allows."""
    assert config.run.work_dir is not None
    folder = config.run.work_dir / "migxai_wf" / f"sub_{label}_wf"
    if config.run.keep == "none" and folder.is_dir():
        shutil.rmtree(folder)
    elif config.run.keep == "some":
        for pattern in SERIES_PATTERNS:
            for path in folder.glob(pattern):
                path.unlink()


def used_file(config: Config) -> Path:
    """Where ``--resource-monitor`` writes what the steps used: into the logs beside the subject's work directory."""
    assert config.run.work_dir is not None
    return config.run.work_dir.parent / "logs" / f"{config.run.work_dir.name}_steps.json"


def subject_of(node: str) -> str:
    """Name the subject of a node: that of ``migxai_wf.sub_01_wf.task_rest_wf.denoise`` is ``sub-01``."""
    return node.split(".")[1].removesuffix("_wf").replace("_", "-", 1)


def step_name(node: str) -> str:
    """Name a node for the progress display: ``migxai_wf.sub_01_wf.task_rest_wf.denoise`` is ``task_rest denoise``."""
    parts = [part.removesuffix("_wf") for part in node.split(".")[2:]]
    return " ".join(part for part in parts if part != "raw")
