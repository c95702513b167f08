"""Cascading randomisation of weights (Adebayo et al. 2018, arXiv:1810.03292).

A map that stays as it is when what the network has learned is replaced by random weights shows the picture, or the
network's build, and not what was learned. Trained layers are drawn anew as they were before training. The frozen part
is drawn anew only if it is pretrained: else it is random already.
"""

from __future__ import annotations

import numpy as np

from migxai.audit.audited_maps import AuditedMaps, choose_people, rows_of
from migxai.audit.checks import Check
from migxai.audit.randomized_maps import (
    SAME,
    SliceChoice,
    choose_slices,
    draw_classifier,
    draw_head,
    explain_features,
    explain_slices,
    map_similarity,
)
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


def check(audited: AuditedMaps) -> list[Check]:
    """Set maps against those of networks with the classifier, all trained layers, and all layers drawn anew."""
    choice = choose_slices(audited.space)
    by_class, linear = METHODS[audited.method].by_class, set(audited.store.split.modules) == {"classifier"}
    found = [_classifier(audited, choice, judged=by_class or linear)]
    if not linear:
        found.append(_trained_layers(audited, choice))
    if audited.pretrained:
        found.append(_whole_network(audited, choice))
    return found


def _classifier(audited: AuditedMaps, choice: SliceChoice, *, judged: bool) -> Check:
    rng, maps = audited.generator(1), []
    others: list[list[FloatArray]] = [[] for _ in range(_heads(audited))]
    for number, places in choose_people(audited, PEOPLE):
        maps.append(_shown(audited, places, choice))
        for other in others:
            head = draw_classifier(audited, audited.heads[number], rng)
            other.append(explain_slices(head, audited, audited.people[places], choice))
    return _judge(
        audited,
        "Maps change when the classifier is random",
        np.concatenate(maps),
        [np.concatenate(other) for other in others],
        judged=judged,
    )


def _trained_layers(audited: AuditedMaps, choice: SliceChoice) -> Check:
    rng = audited.generator(2)
    places = np.concatenate([places for _, places in choose_people(audited, PEOPLE)])
    others = [
        explain_slices(draw_head(audited, rng), audited, audited.people[places], choice) for _ in range(_heads(audited))
    ]
    return _judge(audited, "Maps change when all trained layers are random", _shown(audited, places, choice), others)


def _whole_network(audited: AuditedMaps, choice: SliceChoice) -> Check:
    """Draw the frozen part anew as well, once, and heads on it."""
    name = "Maps change when the whole network is random"
    if audited.planes is None or audited.backbone is None:
        return Check(name, audited.of, limit=_LIMIT, detail="Not made: the slices or the network are not at hand.")
    import torch

    from migxai.learning.backbone import Backbone
    from migxai.learning.weights import LoadedNetwork, draw_network

    rng, split = audited.generator(3), audited.store.split
    network = draw_network(find_family(split.network), int(rng.integers(2**31)))
    loaded = LoadedNetwork(network, audited.backbone.normalisation, "random")
    backbone = Backbone(split, loaded, precision=audited.backbone.precision)
    places = np.concatenate([places for _, places in choose_people(audited, PEOPLE_TRUNK)])
    heads = [draw_head(audited, rng) for _ in range(_heads(audited))]
    others: list[list[FloatArray]] = [[] for _ in heads]
    for place in places.tolist():
        planes = np.array(audited.planes[audited.people[place]])[choice.slices]
        pixels = torch.from_numpy(to_pixels(planes, audited.space.geometry)).unsqueeze(1)
        made = {key: value.float() for key, value in backbone.features(pixels, clean=True).items()}
        for head, other in zip(heads, others, strict=True):
            other.append(explain_features(head, audited, made, choice))
    return _judge(audited, name, _shown(audited, places, choice), [np.stack(other) for other in others])


def _heads(audited: AuditedMaps) -> int:
    return HEADS if METHODS[audited.method].by_class else HEADS_BLIND


def _shown(audited: AuditedMaps, places: IntArray, choice: SliceChoice) -> FloatArray:
    """Return the maps that are checked, of some people on some slices, (n, C, v)."""
    saliency = audited.trials[0]
    shown: FloatArray = saliency.maps[rows_of(saliency, places)][:, :, choice.voxels]
    return shown


def _judge(
    audited: AuditedMaps, name: str, maps: FloatArray, others: list[FloatArray], *, judged: bool = True
) -> Check:
    similarity = map_similarity(maps, others)
    people = f"{len(maps)} people, {len(others)} random networks."
    if np.isnan(similarity.signed):
        return Check(name, audited.of, limit=_LIMIT, detail=f"Not made: no map that can be compared ({people[:-1]}).")
    blind = " This method does not look at the classifier, so this is shown only." if not judged else ""
    return Check(
        name,
        audited.of,
        value=f"{similarity.signed:.2f}",
        number=similarity.signed,
        limit=_LIMIT,
        passed=similarity.passed if judged else None,
        detail=f"{people} {similarity.detail}{blind}",
    )
