"""Motion parameters, displacements and DVARS on motion that is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migxai.errors import ImageError
from migxai.signal import (
    dvars,
    jenkinson_displacement,
    judge_motion,
    motion_matrices,
    motion_parameters,
    power_displacement,
)

SIX = st.tuples(*[st.floats(-30, 30)] * 3, *[st.floats(-1.5, 1.5)] * 3)


@given(rows=st.lists(SIX, min_size=1, max_size=5), centre=st.tuples(*[st.floats(-100, 100)] * 3))
@settings(max_examples=60, deadline=None)
def test_parameters_survive_the_round_trip(rows, centre):
    parameters = np.array(rows)
    found = motion_parameters(motion_matrices(parameters, centre), centre)
    np.testing.assert_allclose(found, parameters, atol=1e-9)


def test_the_convention_is_spms():
    # spm_matrix([1 2 3 0.1 0.2 0.3]), computed by hand from its documented T * Rx * Ry * Rz.
    a, b, c = 0.1, 0.2, 0.3
    rx = np.array([[1, 0, 0], [0, np.cos(a), np.sin(a)], [0, -np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), np.sin(c), 0], [-np.sin(c), np.cos(c), 0], [0, 0, 1]])
    found = motion_matrices([[1, 2, 3, a, b, c]])[0]
    np.testing.assert_allclose(found[:3, :3], rx @ ry @ rz, atol=1e-15)
    np.testing.assert_allclose(found[:3, 3], [1, 2, 3])


def test_a_turn_about_the_centre_moves_nothing_there():
    centre = (10.0, -40.0, 25.0)
    matrices = motion_matrices([[0, 0, 0, 0.05, 0, 0]], centre)
    np.testing.assert_allclose(matrices[0] @ [*centre, 1], [*centre, 1], atol=1e-12)
    assert np.abs(motion_parameters(matrices)[0, :3]).max() > 1


def test_power_displacement_adds_arcs_to_translations():
    found = power_displacement([[0, 0, 0, 0, 0, 0], [1, -1, 0, 0.01, 0, 0], [1, -1, 0, 0.01, 0, -0.02]])
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], [2.5, 1.0])


def test_jenkinson_displacement_is_the_rms_over_the_sphere():
    rng = np.random.default_rng(0)
    centre = np.array([5.0, -20.0, 10.0])
    matrices = motion_matrices(np.column_stack([rng.normal(0, 1, (3, 3)), rng.normal(0, 0.02, (3, 3))]))
    points = rng.standard_normal((400_000, 3))
    points *= 80 * (rng.random((400_000, 1)) ** (1 / 3)) / np.linalg.norm(points, axis=1, keepdims=True)
    points += centre
    found = jenkinson_displacement(matrices, centre)
    assert np.isnan(found[0])
    for volume in (1, 2):
        # Displacement of the points that the head's material occupied in the volume before.
        relative = matrices[volume] @ np.linalg.inv(matrices[volume - 1])
        shift = points @ relative[:3, :3].T + relative[:3, 3] - points
        assert found[volume] == pytest.approx(np.sqrt((shift**2).sum(axis=1).mean()), rel=5e-3)


def test_the_rule_names_what_passed():
    parameters = np.zeros((5, 6))
    parameters[3] = [0, -2.5, 0, 0, 0, np.radians(1.9)]
    verdict = judge_motion(parameters)
    assert verdict.excluded
    assert verdict.reason == "The head moved by 2.50 mm (limit 2 mm) from its reference position."
    assert verdict.max_rotation == pytest.approx(1.9)
    assert not judge_motion(parameters, max_translation=3.0).excluded
    assert judge_motion(parameters, max_translation=3.0).reason is None
    assert "1.90 degrees (limit 1 degrees)" in judge_motion(parameters, 3.0, 1.0).reason


def test_dvars_of_noise_is_one_and_sees_a_spike():
    series = 1000 + 10 * np.random.default_rng(0).standard_normal((6000, 80))
    series[:, 40] += 30
    plain, standardised = dvars(series)
    assert np.isnan([plain[0], standardised[0]]).all()
    quiet = np.delete(np.arange(1, 80), [39, 40])
    np.testing.assert_allclose(standardised[quiet], 1.0, atol=0.05)
    np.testing.assert_allclose(plain[quiet], np.sqrt(200.0), rtol=0.05)
    assert standardised[40] > 2
    assert plain[40] == pytest.approx(np.sqrt(np.mean((series[:, 40] - series[:, 39]) ** 2)), rel=0.01)


def test_dvars_does_not_depend_on_units_or_empty_voxels():
    series = 1000 + 10 * np.random.default_rng(0).standard_normal((500, 60))
    plain, standardised = dvars(series)
    scaled = dvars(7 * series)
    np.testing.assert_allclose(scaled[0][1:], plain[1:])
    np.testing.assert_allclose(scaled[1][1:], standardised[1:])
    padded = dvars(np.vstack([series, np.full((20, 60), 1000.0)]))
    np.testing.assert_allclose(padded[1][1:], standardised[1:])


def test_unusable_input_is_refused():
    with pytest.raises(ImageError, match="not rigid"):
        motion_parameters(np.diag([1.0, 1.1, 1.0, 1.0])[None])
    with pytest.raises(ImageError, match="4 by 4"):
        motion_parameters(np.eye(4))
    with pytest.raises(ImageError, match="by 6"):
        motion_matrices(np.ones((4, 5)))
    with pytest.raises(ImageError, match="DVARS needs"):
        dvars(np.ones((4, 30)))
