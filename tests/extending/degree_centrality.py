"""A worked example of an indicator from outside: weighted degree centrality of voxels.

The package around it is this module and a pyproject with an entry point:

    [project]
    name = "migxai-degree-centrality"
    version = "1.0"
    dependencies = ["migxai"]

    [project.entry-points."migxai.indicators"]
    dc = "degree_centrality:ENTRY"

After ``pip install`` of it, ``migxai --indicators dc`` is there. `migxai.indicators.registry.Indicator` describes each
field. Nothing heavy is imported at the top: ``migxai --help`` loads this module too.
"""

from __future__ import annotations

from migxai.indicators.registry import Indicator
from migxai.options import Option, number

THRESHOLD = Option(
    ("--dc-threshold",),
    "indicators",
    "extensions",
    "dc.threshold",
    "Correlations above this count for degree centrality.",
    parse=number,
    metavar="R",
    initial=0.25,
)


def compute(series, config):
    """Sum each voxel's correlations with all others, as far as they are above the threshold; (V,)."""
    import numpy as np

    threshold = ENTRY.setting(config, "threshold")
    samples = series.filtered - series.filtered.mean(axis=1, keepdims=True)
    length = np.sqrt((samples * samples).sum(axis=1, keepdims=True))
    samples = np.divide(samples, length, out=np.zeros_like(samples), where=length > 0)
    degree = np.empty(len(samples))
    # By blocks of rows: the whole matrix of a brain at 3 mm would take 20 GB.
    for start in range(0, len(samples), 1000):
        block = samples[start : start + 1000] @ samples.T
        block[block <= threshold] = 0
        degree[start : start + 1000] = block.sum(axis=1)
    return degree - 1  # each voxel correlates with itself


def definition(config):
    """Say in the sidecar how the numbers were made; maps that differ in one of these are not pooled."""
    return {
        "Definition": "sum of the correlations with all voxels of the mask that are above the threshold",
        "CorrelationThreshold": ENTRY.setting(config, "threshold"),
    }


def sentence(config):
    """Say in the methods text what was done; ``[@dc]`` cites the entry's reference."""
    threshold = ENTRY.setting(config, "threshold")
    return (
        "Degree centrality [@dc] is the sum of a voxel's Pearson correlations above "
        f"{threshold:g} with all others of the brain, divided by its mean over the brain."
    )


ENTRY = Indicator(
    name="dc",
    title="Degree centrality",
    citation="Zuo XN, Ehmke R, Mennes M, et al. Network centrality in the human functional connectome. Cerebral Cortex "
    "2012;22:1862-1875. doi:10.1093/cercor/bhr269",
    options=(THRESHOLD,),
    compute=compute,
    definition=definition,
    sentence=sentence,
    smoothed_after=True,
)
