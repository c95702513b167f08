"""All runs of one subject, their mean, and the report."""

from __future__ import annotations

import re
from collections import defaultdict

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from migxai.bids.inputs import RawRun, Subject
from migxai.bids.names import run_entities
from migxai.config import Config
from migxai.participant.interfaces.averaging import AverageRuns
from migxai.participant.workflows.anatomical import init_anatomical_wf
from migxai.participant.workflows.preprocessing import for_steps, uses_t1w
from migxai.participant.workflows.run import init_run_wf


def init_subject_wf(config: Config, subject: Subject) -> pe.Workflow:
    """Process all runs of one subject.

    Runs that share a T1w share its normalisation. Runs that differ in ``run-`` alone are also averaged.

    Parameters
    ----------
    config
        The run's configuration.
    subject
        The subject and its runs.

    Outputs
    -------
    The derivatives of the subject in the output dataset; `collect_outputs` lists them.
    """
    workflow = pe.Workflow(name=f"sub_{subject.label}_wf")
    anatomies: dict[str, pe.Workflow] = {}
    groups: dict[tuple[tuple[str, str], ...], list[pe.Workflow]] = defaultdict(list)
    for run in subject.runs:
        run_wf = init_run_wf(config, run, name=run_name(run.entities))
        workflow.add_nodes([run_wf])
        if isinstance(run, RawRun) and uses_t1w(config, run):
            anat_wf = _anatomy(config, run, anatomies)
            workflow.connect(
                [
                    (
                        anat_wf,
                        run_wf,
                        [
                            ("outputnode.image", "inputnode.t1w"),
                            ("outputnode.mask", "inputnode.t1w_mask"),
                            ("outputnode.to_template", "inputnode.t1w_to_template"),
                            ("outputnode.facts", "inputnode.anat_facts"),
                        ],
                    )
                ]
            )
        if "run" in run.entities:
            without = {key: value for key, value in run_entities(run.entities).items() if key != "run"}
            groups[tuple(without.items())].append(run_wf)
    for number, (entities, members) in enumerate(groups.items()):
        _average(workflow, config, dict(entities), members, number)
    return workflow


def _anatomy(config: Config, run: RawRun, known: dict[str, pe.Workflow]) -> pe.Workflow:
    """Return the anatomical workflow of a run's T1w, one for all runs that share the image."""
    assert run.t1w is not None
    key = str(run.t1w)
    if key not in known:
        sources = tuple(source for source in run.sources if source.endswith(run.t1w.name))
        entities = anat_entities(run.t1w.name)
        known[key] = init_anatomical_wf(config, run.t1w, entities, sources, name=f"anat_{len(known)}_wf")
    return known[key]


def _average(
    workflow: pe.Workflow, config: Config, entities: dict[str, str], members: list[pe.Workflow], number: int
) -> None:
    merges = {}
    for item in ("maps", "regions", "mask", "facts"):
        merges[item] = pe.Node(niu.Merge(len(members)), name=f"merge_{item}_{number}", run_without_submitting=True)
        for place, member in enumerate(members, 1):
            workflow.connect(member, f"outputnode.{item}", merges[item], f"in{place}")
    average = pe.Node(
        AverageRuns(config=for_steps(config), entities=entities, output_dir=str(config.run.output_dir)),
        name=f"average_{number}",
        mem_gb=AverageRuns.memory.gb(),
    )
    workflow.connect([(merges[item], average, [("out", item)]) for item in merges])


def run_name(entities: dict[str, str]) -> str:
    """Name of a run's workflow: its entities, in characters that nipype allows."""
    parts = [f"{key}_{value}" for key, value in run_entities(entities).items() if key != "sub"]
    return re.sub(r"[^A-Za-z0-9_]", "p", "_".join([*parts, "wf"]))


def anat_entities(name: str) -> dict[str, str]:
    """Entities that the derivatives of a T1w image keep."""
    from migxai.bids.names import parse_name

    parsed = parse_name(name)
    keep = ("sub", "ses", "acq", "ce", "rec", "run")
    return {key: value for key, value in (parsed.entities if parsed else {}).items() if key in keep}
