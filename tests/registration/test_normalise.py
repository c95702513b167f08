"""Normalisation of heads."""

from __future__ import annotations

import numpy as np
import pytest

from migxai.errors import RegistrationError
from migxai.registration.engines import find_engine
from migxai.registration.normalise import (
    Brain,
    Tissues,
    compact,
    epi_to_t1w,
    epi_to_template,
    t1w_to_template,
    template_as_seen,
)
from migxai.registration.resample import resample_to_grid
from migxai.registration.space import Affine, Chain, Volume, grid_points, rigid_matrix, template_volume
from tests.registration.conftest import load_template, smooth_anatomy


def test_the_template_is_drawn_in_the_image_s_own_contrast():
    """An EPI-like image of the template itself, with a coil's slow shading, noise and a spot that is no tissue."""
    tissues = Tissues(template_volume("WM"), template_volume("CSF"), template_volume("mask"))
    inside = tissues.mask.data > 0
    resolution = np.array([3.0, 3.0, 4.0])
    truth = np.where(inside, 1 - 0.2 * tissues.white.data + 0.4 * tissues.fluid.data, 0)
    shading = np.linspace(600, 1400, truth.shape[0])[:, None, None]
    noise = np.random.default_rng(0).normal(0, 0.05, truth.shape)
    image = ((truth + noise) * shading * inside).astype(np.float32)
    image[40:46, 60:66, 40:46] = 9000
    shift = np.eye(4)
    shift[:3, 3] = 4, -6, 8
    moved = tissues.mask.affine.copy()
    moved[:3, 3] += shift[:3, 3]
    seen, brain = (type(tissues.mask)(data, moved) for data in (image, inside.astype(np.float32)))
    drawn = template_as_seen(seen, brain, Chain((Affine(shift),)), tissues, resolution).data
    white, fluid = inside & (tissues.white.data > 0.95), inside & (tissues.fluid.data > 0.95)
    assert abs(np.median(drawn[white]) - 0.8) < 0.05
    assert np.median(drawn[fluid]) > 1.15
    assert not drawn[~inside].any()


def invert(chain: Chain, points: np.ndarray) -> np.ndarray:
    """Fixed-point inverse of a map: independent of the code under test."""
    guess = np.linalg.solve(chain.steps[-1].matrix, np.column_stack([points, np.ones(len(points))]).T).T[:, :3]
    start = guess.copy()
    for _ in range(30):
        guess = start - (chain.steps[0].map_points(guess) - guess)
    return guess


class Inverse:
    def __init__(self, chain: Chain) -> None:
        self.chain = chain

    def map_points(self, points: np.ndarray) -> np.ndarray:
        return invert(self.chain, points)


def person(brain: Brain, truth: Chain, affine: np.ndarray, shape: tuple[int, int, int], seed: int = 0) -> Brain:
    """The template as another head: where the head's point is ``truth(template point)``."""
    there = Inverse(truth)
    image = resample_to_grid(
        brain.image.data, brain.image.affine, target_affine=affine, target_shape=shape, order=3, chain=there
    )
    mask = resample_to_grid(
        brain.mask.data, brain.mask.affine, target_affine=affine, target_shape=shape, order=1, chain=there
    )
    rng = np.random.default_rng(seed)
    noisy = image * 1.7 + rng.normal(0, 0.02 * image.max(), image.shape).astype(np.float32)
    return Brain(Volume(noisy, affine), Volume(mask > 0.5, affine))


def oblique(spacing: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """A tilted grid with its first axis flipped, around the head."""
    affine = rigid_matrix(np.array([0, 0, 0, 0.15, 0.05, -0.1])) @ np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
    affine[:3, 3] = np.array([0.0, -20.0, 15.0]) - affine[:3, :3] @ (np.array(shape) / 2)
    return affine


def landmarks(brain: Brain) -> np.ndarray:
    return grid_points(brain.mask.affine, brain.mask.shape, brain.mask.data > 0)[::97]


@pytest.mark.slow
def test_t1w_and_epi_reach_the_template_through_the_composed_chain(template_brain):
    truth, engine = smooth_anatomy(11), find_engine("greedy")
    points = landmarks(template_brain)
    t1w = person(template_brain, truth, oblique(np.array([1.5] * 3), (128, 150, 128)), (128, 150, 128))
    found = t1w_to_template(t1w, template_brain, engine)
    error = np.linalg.norm(found.registration.forward.map_points(points) - truth.map_points(points), axis=1)
    assert error.mean() < 1.0
    saved = compact(found.registration, template_brain.image, t1w.mask)
    back = saved.inverse.map_points(saved.forward.map_points(points))
    assert np.linalg.norm(back - points, axis=1).mean() < 0.3

    # The EPI: the same head moved, in coarse voxels.
    move = Affine(rigid_matrix(np.array([5.0, -6.0, 8.0, 0.1, 0.03, -0.04])))
    boldref = Brain(load_template("boldref"), template_brain.mask)
    moved = Chain((truth.steps[0], Affine(move.matrix @ truth.steps[1].matrix)))
    shape = (72, 76, 50)
    epi = person(boldref, moved, oblique(np.array([3.0, 3.0, 4.0]), shape), shape)
    aligned = epi_to_t1w(epi, t1w, engine)
    heads = truth.map_points(points)
    rigid_error = np.linalg.norm(aligned.registration.forward.map_points(heads) - move.map_points(heads), axis=1)
    chain = saved.forward.then(aligned.registration.forward)
    error = np.linalg.norm(chain.map_points(points) - moved.map_points(points), axis=1)
    assert rigid_error.mean() < 1.2
    assert error.mean() < 1.5

    tissues = Tissues(template_volume("WM"), template_volume("CSF"), template_volume("mask"))
    direct = epi_to_template(epi, boldref, tissues, engine)
    error = np.linalg.norm(direct.registration.forward.map_points(points) - moved.map_points(points), axis=1)
    assert error.mean() < 2.0


def test_greedy_repeats_itself_on_any_number_of_threads(template_brain, monkeypatch):
    from migxai.registration.engines import Pair

    small = template_brain.on(6.0)
    shifted = small.image.with_data(np.roll(small.image.data, 1, axis=1))
    results = []
    for threads in ("1", "2", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        engine, pair = find_engine("greedy"), Pair(shifted, small.image)
        affine = engine.affine(pair, start=Affine(np.eye(4)), metric="NCC")
        warp = engine.deformable(pair, start=affine).forward.steps[0]
        results.append((affine.matrix, warp.displacements))
    for matrix, displacements in results[1:]:
        assert np.array_equal(matrix, results[0][0])
        assert np.array_equal(displacements, results[0][1])


@pytest.mark.slow
def test_noise_does_not_pass_for_a_brain(template_brain):
    noise = np.random.default_rng(0).random(template_brain.image.shape).astype(np.float32) * 1000
    impostor = Brain(Volume(noise, template_brain.image.affine), template_brain.mask)
    with pytest.raises(RegistrationError, match="T1w to template failed"):
        t1w_to_template(impostor, template_brain, find_engine("greedy"))
