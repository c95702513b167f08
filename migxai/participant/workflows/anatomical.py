"""From a T1w image to its brain and its place in the template."""

from __future__ import annotations

from pathlib import Path

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from migxai.config import Config
from migxai.participant.interfaces.anatomy import ExtractBrain, NormaliseT1w, WriteAnatomy


def init_anatomical_wf(
    config: Config, t1w: Path, entities: dict[str, str], sources: tuple[str, ...], name: str = "anat_wf"
) -> pe.Workflow:
    """Extract the brain of a T1w image and normalise it to the packaged template.

    Parameters
    ----------
    config
        The run's configuration.
    t1w
        The image.
    entities
        Entities of its derivatives.
    sources
        BIDS URIs of what they are made from.
    name
        Name of the workflow.

    Outputs
    -------
    image, mask
        The T1w image and the mask of its brain.
    to_template
        The transform to the template.
    facts
        What was done, with the figures of quality control.
    """
    workflow = pe.Workflow(name=name)
    outputs = pe.Node(niu.IdentityInterface(["image", "mask", "to_template", "facts"]), name="outputnode")
    options = config.preprocessing
    threads = config.run.omp_nthreads or 1
    extract = pe.Node(
        ExtractBrain(t1w=str(t1w), options=options),
        name="extract_brain",
        mem_gb=ExtractBrain.memory.gb(),
        n_procs=threads,
    )
    normalise = pe.Node(
        NormaliseT1w(options=options), name="normalise", mem_gb=NormaliseT1w.memory.gb(), n_procs=threads
    )
    write = pe.Node(
        WriteAnatomy(output_dir=str(config.run.output_dir), entities=entities, sources=list(sources)),
        name="write",
        mem_gb=WriteAnatomy.memory.gb(),
    )
    workflow.connect(
        [
            (extract, normalise, [("image", "image"), ("mask", "mask"), ("facts", "facts")]),
            (extract, write, [("image", "image"), ("mask", "mask")]),
            (normalise, write, [(item, item) for item in ("to_template", "from_template", "facts")]),
            (extract, outputs, [("image", "image"), ("mask", "mask")]),
            (normalise, outputs, [("to_template", "to_template"), ("facts", "facts")]),
        ]
    )
    return workflow
