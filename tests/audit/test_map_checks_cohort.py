"""The checks of maps on a cohort of simulated ReHo maps, with GoogLeNet throughout."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from migxai.audit.audited_maps import AuditedMaps, GroundTruth
from migxai.audit.runner import check_maps, trusted
from migxai.cohort.datasets import read_maps
from migxai.cohort.maps import common_grid
from migxai.config import Learning
from migxai.demo.map_cohort import make_map_cohort
from migxai.demo.map_model import effect_map, effect_names
from migxai.explain.explainers import explain_people
from migxai.explain.saliency_maps import SaliencyMaps, join_folds, scale_folds
from migxai.explain.volumes import SliceSpace
from migxai.group.plan import common_template, prepare_maps
from migxai.learning.backbone import make_backbone
from migxai.learning.backbones import make_head
from migxai.learning.feature_store import FeatureStore, extract_subject, make_feature_spec
from migxai.learning.slices import cut
from migxai.learning.splits import make_folds
from migxai.learning.training import Schedule, predict_head, train_head
from tests.audit.audited_cases import EDGES, register

PEOPLE, CLASSES, PLANTED = 40, ("HC", "migraine"), ("Cuneus", "Precuneus")
SETTINGS = Learning(weights="random", slices=10, augmentations=0, epochs=10, precision="fp32", device="cpu")
#: Brightness that is added where classes differ, of a picture whose own reaches from 0 to 0.8.
EFFECT = 0.35


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> AuditedMaps:
    """People without trials or heads; those of the second class are brighter in cuneus and precuneus.

    The effect is planted in the slices: in the maps it would change what their percentiles scale everything else by.
    """
    root = tmp_path_factory.mktemp("saliency")
    dataset = make_map_cohort(root / "demo", subjects=PEOPLE, seed=11, effect_size=0.0, indicators=("reho",))
    table = read_maps(dataset, stat="reho", form="mean")
    template = common_template(*common_grid(list(table["path"])), "MNI152NLin2009cAsym", SETTINGS)
    maps = prepare_maps("reho", [[path] for path in table["path"]], template)
    labels = (table["group"] != CLASSES[0]).to_numpy(dtype=np.int64)
    where = effect_map(PLANTED, "reho")
    planes = 0.8 * maps.planes
    planes[labels == 1] = np.clip(planes[labels == 1] + EFFECT * cut(where, template.geometry), 0, 1)
    backbone, spec = (
        make_backbone("googlenet", SETTINGS, 0),
        make_feature_spec("googlenet", SETTINGS, template.geometry, 0),
    )
    names = [str(name) for name in table["participant_id"]]
    for name, digest, one in zip(names, maps.hashes, planes, strict=True):
        extract_subject(backbone, one, spec, folder=root, subject=name, map_hash=digest)
    space = SliceSpace(template.geometry, template.brain)
    return AuditedMaps(
        of="HC against migraine: GoogLeNet on ReHo",
        labels=labels,
        people=np.arange(PEOPLE),
        folds=make_folds(labels, ["a"] * PEOPLE, cv="kfold", folds=5, trials=1, seed=0)[0],
        heads=[],
        trials=[],
        store=FeatureStore.open(root, spec.key, maps.hashes, names),
        space=space,
        method="gradcam",
        classes=CLASSES,
        settings=SETTINGS,
        seed=0,
        planes=planes,
        backbone=backbone,
        truth=GroundTruth(
            where[space.inside] > 0.5,
            template.labels[space.inside],
            dict(zip(template.atlas.indices, template.atlas.names, strict=True)),
            effect_names(PLANTED),
        ),
    )


def with_heads(case: AuditedMaps, *, trained: bool, method: str = "gradcam") -> AuditedMaps:
    heads, parts = [], []
    for fold in case.folds:
        head = make_head(case.store.split, 2, torch.Generator().manual_seed(fold.number)).eval()
        if trained:
            train_head(head, case.store, fold.train, case.labels[fold.train], Schedule.of(SETTINGS), fold.number)
        maps = explain_people(head, case.store, fold.test, method, case.space, 2)
        predicted = predict_head(head, case.store, fold.test).mean(axis=1).argmax(axis=1)
        numbers = np.full(len(fold.test), fold.number)
        parts.append(SaliencyMaps(fold.test, case.labels[fold.test], predicted, maps, numbers))
        heads.append(head)
    return dataclasses.replace(case, heads=heads, trials=[scale_folds(join_folds(parts))], method=method)


def shown(checks):
    for check in checks:
        print(check.passed, check.name, check.value, check.limit, check.detail, sep=" | ")
    return trusted(checks)


@pytest.mark.slow
def test_a_network_trained_on_a_strong_effect_passes(cohort):
    verdict, sentence = shown(check_maps(with_heads(cohort, trained=True)))
    assert verdict is True, sentence


@pytest.mark.slow
def test_an_untrained_network_fails(cohort):
    verdict, sentence = shown(check_maps(dataclasses.replace(with_heads(cohort, trained=False), planes=None)))
    assert verdict is False
    assert "Evidence tells unseen people apart" in sentence


@pytest.mark.slow
def test_an_edge_detector_fails(cohort, monkeypatch):
    case = with_heads(cohort, trained=True, method=register(monkeypatch, EDGES))
    verdict, sentence = shown(check_maps(dataclasses.replace(case, planes=None)))
    assert verdict is False
    assert "when all trained layers are random" in sentence
