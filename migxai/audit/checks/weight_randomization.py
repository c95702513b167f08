"""Cascading randomisation of weights (Adebayo et al. 2018, arXiv:1810.03292).

A map that stays as it is when what the network has learned is replaced by random weights shows the picture, or the
network's build, and not what was learned. Trained layers are drawn anew as they were before training. The frozen part
is drawn anew only if it is pretrained: else it is random already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migxai.audit.checks import Check, CheckEntry

if TYPE_CHECKING:
    from migxai.audit.audited_maps import AuditedMaps, SliceChoice
    from migxai.metrics.types import FloatArray

#: People, and random heads that each of their maps is set against; signs of random maps are random, so many are needed.
PEOPLE, HEADS = 12, 8
#: Of a method that does not depend on the class, whose maps have no sign to speak of, fewer do.
HEADS_BLIND = 2
#: People whose slices go through a network that is random throughout: those are seconds each.
PEOPLE_TRUNK = 3


def check(audited: AuditedMaps) -> list[Check]:
    """Set maps against those of networks with the classifier, all trained layers, and all layers drawn anew."""
    from migxai.audit.audited_maps import choose_slices
    from migxai.explain.methods import METHODS

    choice = choose_slices(audited.space)
    by_class, linear = METHODS[audited.method].by_class, set(audited.store.split.modules) == {"classifier"}
    found = [_classifier(audited, choice, judged=by_class or linear)]
    if not linear:
        found.append(_trained_layers(audited, choice))
    if audited.pretrained:
        found.append(_whole_network(audited, choice))
    return found


def _classifier(audited: AuditedMaps, choice: SliceChoice, *, judged: bool) -> Check:
    import numpy as np

    from migxai.audit.audited_maps import choose_people, draw_classifier, explain_slices, maps_on_slices

    rng, maps = audited.generator(1), []
    others: list[list[FloatArray]] = [[] for _ in range(_heads(audited))]
    for number, places in choose_people(audited, PEOPLE):
        maps.append(maps_on_slices(audited, places, choice))
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
    import numpy as np

    from migxai.audit.audited_maps import choose_people, draw_head, explain_slices, maps_on_slices

    rng = audited.generator(2)
    places = np.concatenate([places for _, places in choose_people(audited, PEOPLE)])
    others = [
        explain_slices(draw_head(audited, rng), audited, audited.people[places], choice) for _ in range(_heads(audited))
    ]
    maps = maps_on_slices(audited, places, choice)
    return _judge(audited, "Maps change when all trained layers are random", maps, others)


def _whole_network(audited: AuditedMaps, choice: SliceChoice) -> Check:
    """Draw the frozen part anew as well, once, and heads on it."""
    from migxai.audit.audited_maps import DIFFERENT, choose_people, draw_head, explain_features, maps_on_slices

    name = "Maps change when the whole network is random"
    if audited.planes is None or audited.backbone is None:
        return Check(name, audited.of, limit=DIFFERENT, detail="Not made: the slices or the network are not at hand.")
    import numpy as np
    import torch

    from migxai.learning.backbone import Backbone
    from migxai.learning.backbones import find_family
    from migxai.learning.slices import to_pixels
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
    maps = maps_on_slices(audited, places, choice)
    return _judge(audited, name, maps, [np.stack(other) for other in others])


def _heads(audited: AuditedMaps) -> int:
    from migxai.explain.methods import METHODS

    return HEADS if METHODS[audited.method].by_class else HEADS_BLIND


def _judge(
    audited: AuditedMaps, name: str, maps: FloatArray, others: list[FloatArray], *, judged: bool = True
) -> Check:
    from migxai.audit.audited_maps import DIFFERENT, map_similarity

    similarity = map_similarity(maps, others)
    people = f"{len(maps)} people, {len(others)} random networks."
    if similarity.passed is None:
        why = f"Not made: no map that can be compared ({people[:-1]})."
        return Check(name, audited.of, limit=DIFFERENT, detail=why)
    blind = " This method does not look at the classifier, so this is shown only." if not judged else ""
    return Check(
        name,
        audited.of,
        value=f"{similarity.signed:.2f}",
        number=similarity.signed,
        limit=DIFFERENT,
        passed=similarity.passed if judged else None,
        detail=f"{people} {similarity.detail}{blind}",
    )


ENTRY = CheckEntry(
    name="weight-randomization",
    title="Maps change when weights are random",
    citation="Adebayo J, Gilmer J, Muelly M, Goodfellow I, Hardt M, Kim B. Sanity checks for saliency maps. NeurIPS "
    "2018. arXiv:1810.03292",
    order=60,
    of_maps=check,
)
