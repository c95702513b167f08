from __future__ import annotations

import numpy as np
import pytest

from migxai.errors import RegistrationError
from migxai.registration import quality
from migxai.registration.normalise import T1W_GATE
from migxai.registration.space import Affine, Chain, Volume, rigid_matrix


def judge(brain, matrix, image=None):
    start = Chain((Affine(rigid_matrix(np.array([0.0, 15.0, 0, 0.2, 0, 0]))),))
    seen = quality.measure_quality(
        image or brain.image, brain.mask, brain.image, brain.mask, result=Chain((Affine(matrix),)), start=start
    )
    quality.require_quality(seen, T1W_GATE, "a head to itself")
    return seen


def about(brain, parameters):
    matrix = rigid_matrix(np.asarray(parameters, dtype=float))
    centre = quality.mask_centre(brain.mask)
    matrix[:3, 3] += centre - matrix[:3, :3] @ centre
    return matrix


def test_the_right_place_passes(template_brain):
    assert judge(template_brain, about(template_brain, [0.5, 0, 0, 0.01, 0, 0])).dice > 0.95


@pytest.mark.parametrize(
    "parameters",
    [[30.0, 0, 0, 0, 0, 0], [0, 0, 0, np.pi / 2, 0, 0], [0, 0, 0, 0, 0, np.pi / 2], [0, 0, 0, 0, 0, np.pi]],
    ids=["30 mm", "90 degrees pitch", "90 degrees yaw", "180 degrees yaw"],
)
def test_a_wrong_place_fails_with_figures(template_brain, parameters):
    with pytest.raises(RegistrationError, match=r"a head to itself failed: .*0\.\d"):
        judge(template_brain, about(template_brain, parameters))


def test_noise_fails(template_brain):
    noise = np.random.default_rng(0).random(template_brain.image.shape)
    with pytest.raises(RegistrationError):
        judge(template_brain, np.eye(4), Volume(noise, template_brain.image.affine))


def test_similarity_bounds():
    values = np.random.default_rng(0).random(50_000)
    assert quality.similarity(values, values) == pytest.approx(1.0)
    assert quality.similarity(values, np.random.default_rng(1).random(50_000)) < 0.01
    assert quality.similarity(values, np.zeros(50_000)) == pytest.approx(0.0)
