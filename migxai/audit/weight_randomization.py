"""Cascading randomisation of weights (Adebayo et al. 2018, arXiv:1810.03292).

A map that stays as it is when what the network has learned is replaced by random weights shows the picture, or the
network's build, and not what was learned. Trained layers are drawn anew as they were before training. The frozen part
is drawn anew only if it is pretrained: else it is random already.
"""

from __future__ import annotations

import numpy as np

from migxai.audit.case import Case, Check
from migxai.audit.maps import (
    SAME,
    Window,
    compare,
    draw_classifier,
    draw_head,
    explain_features,
    explain_window,
    make_window,
)
from migxai.audit.people import rows_of, spread
from migxai.explain.methods import METHODS
from migxai.learning.backbones import find_family
from migxai.learning.slices import to_pixels
from migxai.metrics.types import FloatArray, IntArray

#: People, and random heads that each of their maps is set against; signs of random maps are random, so many are needed.
PEOPLE, HEADS = 12, 8
#: Of a method that does not depend on the class, whose maps have no sign to speak of, fewer do.
HEADS_BLIND = 2
#: People whose slices go through a network that is random throughout: those are seconds each.
PEOPLE_TRUNK = 3

_LIMIT = f"mean rank correlation under {SAME:g}"


def check(case: Case) -> list[Check]:
    """Set maps against those of networks with the classifier, all trained layers, and all layers drawn anew."""
    window = make_window(case.space)
    by_class, linear = METHODS[case.method].by_class, set(case.store.split.modules) == {"classifier"}
    found = [_classifier(case, window, judged=by_class or linear)]
    if not linear:
        found.append(_trained_layers(case, window))
    if case.pretrained:
        found.append(_whole_network(case, window))
    return found


def _classifier(case: Case, window: Window, *, judged: bool) -> Check:
    rng, maps = case.generator(1), []
    others: list[list[FloatArray]] = [[] for _ in range(_heads(case))]
    for number, places in spread(case, PEOPLE):
        maps.append(_shown(case, places, window))
        for other in others:
            head = draw_classifier(case, case.heads[number], rng)
            other.append(explain_window(head, case, case.people[places], window))
    return _judge(
        case,
        "Maps change when the classifier is random",
        np.concatenate(maps),
        [np.concatenate(other) for other in others],
        judged=judged,
    )


def _trained_layers(case: Case, window: Window) -> Check:
    rng = case.generator(2)
    places = np.concatenate([places for _, places in spread(case, PEOPLE)])
    others = [explain_window(draw_head(case, rng), case, case.people[places], window) for _ in range(_heads(case))]
    return _judge(case, "Maps change when all trained layers are random", _shown(case, places, window), others)


def _whole_network(case: Case, window: Window) -> Check:
    """Draw the frozen part anew as well, once, and heads on it."""
    name = "Maps change when the whole network is random"
    if case.planes is None or case.backbone is None:
        return Check(name, case.of, limit=_LIMIT, detail="Not made: the slices or the network are not at hand.")
    import torch

    from migxai.learning.backbone import Backbone
    from migxai.learning.weights import LoadedNetwork, draw_network

    rng, split = case.generator(3), case.store.split
    network = draw_network(find_family(split.network), int(rng.integers(2**31)))
    loaded = LoadedNetwork(network, case.backbone.normalisation, "random")
    backbone = Backbone(split, loaded, precision=case.backbone.precision)
    places = np.concatenate([places for _, places in spread(case, PEOPLE_TRUNK)])
    heads = [draw_head(case, rng) for _ in range(_heads(case))]
    others: list[list[FloatArray]] = [[] for _ in heads]
    for place in places.tolist():
        planes = np.array(case.planes[case.people[place]])[window.slices]
        pixels = torch.from_numpy(to_pixels(planes, case.space.geometry)).unsqueeze(1)
        made = {key: value.float() for key, value in backbone.features(pixels, clean=True).items()}
        for head, other in zip(heads, others, strict=True):
            other.append(explain_features(head, case, made, window))
    return _judge(case, name, _shown(case, places, window), [np.stack(other) for other in others])


def _heads(case: Case) -> int:
    return HEADS if METHODS[case.method].by_class else HEADS_BLIND


def _shown(case: Case, places: IntArray, window: Window) -> FloatArray:
    """Return the maps that are checked, of some people on some slices, (n, C, v)."""
    evidence = case.trials[0]
    shown: FloatArray = evidence.maps[rows_of(evidence, places)][:, :, window.voxels]
    return shown


def _judge(case: Case, name: str, maps: FloatArray, others: list[FloatArray], *, judged: bool = True) -> Check:
    alike = compare(maps, others)
    people = f"{len(maps)} people, {len(others)} random networks."
    if np.isnan(alike.signed):
        return Check(name, case.of, limit=_LIMIT, detail=f"Not made: no map that can be compared ({people[:-1]}).")
    blind = " This method does not look at the classifier, so this is shown only." if not judged else ""
    return Check(
        name,
        case.of,
        value=f"{alike.signed:.2f}",
        number=alike.signed,
        limit=_LIMIT,
        passed=alike.passed if judged else None,
        detail=f"{people} {alike.detail}{blind}",
    )
