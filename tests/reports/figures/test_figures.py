"""Figures: the same bytes twice, words for those who can't see them, and pictures that show what they should."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migxai.registration.space import Volume
from migxai.reports.figures.drawing import (
    mean_spectrum,
    plot_carpet,
    plot_coverage,
    plot_motion,
    plot_regions,
    plot_spectra,
    rank,
)
from migxai.reports.figures.overlays import (
    Cut,
    Layout,
    axial_layout,
    box,
    grey,
    picture,
    plot_map,
    plot_masks,
    plot_registration,
    three_axes_layout,
)

AFFINE = np.array([[4.0, 0, 0, -40], [0, 4, 0, -40], [0, 0, 4, -40], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def brain() -> tuple[Volume, Volume]:
    """A ball with a bright spot on the subject's left."""
    grid = np.stack(np.meshgrid(*[np.arange(21)] * 3, indexing="ij"), axis=-1) * 4.0 - 40
    inside = np.linalg.norm(grid, axis=-1) < 34
    image = inside * 100.0
    image[2:8, 8:12, 8:12] = 300.0
    return Volume(image * inside, AFFINE), Volume(inside, AFFINE)


def load(path: Path) -> Volume:
    image = nib.load(path)
    return Volume(np.asarray(image.dataobj), image.affine)


def draw_all(folder: Path, brain: tuple[Volume, Volume]) -> list[Path]:
    image, mask = brain
    random = np.random.default_rng(1)
    series = random.normal(size=(300, 60))
    tissues = {name: np.arange(300) // 100 == place for place, name in enumerate(("GM", "WM", "CSF"))}
    labels = [f"Region_{place}" for place in range(30)]
    values = np.where(np.arange(30) == 4, np.nan, random.normal(1, 0.2, 30))
    motion = random.normal(0, 0.1, (60, 6))
    return [
        plot_motion(motion, np.abs(motion).sum(axis=1), folder / "motion.svg", repetition_time=2.0, threshold=0.5),
        plot_carpet(
            series, series, tissues, folder / "carpet.svg", repetition_time=2.0, displacement=motion[:, 0] ** 2
        ),
        plot_spectra(series, series, tissues["GM"], folder / "spectra.svg", repetition_time=2.0),
        plot_registration(image, image, mask, folder / "registration.svg", names=("T1w", "EPI"), contour=mask),
        plot_masks(image, mask, folder / "masks.svg", wm=mask, csf=mask),
        plot_map(image, mask, image, mask, folder / "map.svg", name="mALFF", unit="mean = 1"),
        plot_regions(labels, values, folder / "regions.svg", name="mALFF"),
        plot_coverage(labels, random.uniform(0, 1, 30), folder / "coverage.svg"),
    ]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory, brain: tuple[Volume, Volume]) -> list[Path]:
    return draw_all(tmp_path_factory.mktemp("figures"), brain)


def test_bytes_do_not_depend_on_time_place_or_settings(
    figures: list[Path], tmp_path: Path, brain: tuple[Volume, Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mpl.rcParams, "font.size", 30)
    monkeypatch.setitem(mpl.rcParams, "svg.hashsalt", "other")
    again = draw_all(tmp_path / "other", brain)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in figures]
    assert mpl.rcParams["font.size"] == 30  # the caller's settings come back


def test_no_reference_to_anything_outside(figures: list[Path]) -> None:
    for path in figures:
        text = re.sub(r'xmlns(:\w+)?="[^"]*"', "", path.read_text())
        assert "http" not in text, path.name
        assert mpl.__version__ not in text
        assert str(path.parent) not in text
        assert not list(path.parent.glob(".*")), "a temporary file was left"


def test_every_figure_has_a_title_and_a_description(figures: list[Path]) -> None:
    for path in figures:
        words = re.search(r"<title>(.+?)</title>\s*<desc>(.+?)</desc>", path.read_text(), re.DOTALL)
        assert words is not None, path.name
        assert len(words[2]) > 40


def test_figures_are_small(figures: list[Path]) -> None:
    assert max(path.stat().st_size for path in figures) < 600_000


def test_words_name_the_numbers(tmp_path: Path) -> None:
    motion = np.zeros((50, 6))
    motion[20:, 1] = 2.5
    displacement = np.zeros(50)
    displacement[20] = 2.5
    text = plot_motion(motion, displacement, tmp_path / "m.svg", repetition_time=2.0, threshold=0.3).read_text()
    assert "Largest translation 2.50 mm (limit 2)" in text
    assert "1 volumes above 0.3 mm" in text


def test_left_is_on_the_left_whatever_the_storage(brain: tuple[Volume, Volume]) -> None:
    image, mask = brain
    flipped = Volume(image.data[::-1], AFFINE @ np.array([[-1.0, 0, 0, 20], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    layout = axial_layout(mask, count=3, columns=3)
    first, second = picture(image, layout), picture(flipped, layout)
    np.testing.assert_allclose(first, second, atol=1e-9)
    rows, columns = layout.tile
    middle = first[:rows, columns : 2 * columns]
    assert middle[:, : columns // 2].max() > 250
    assert middle[:, columns // 2 :].max() < 150


def test_up_is_up(brain: tuple[Volume, Volume]) -> None:
    _, mask = brain
    top = np.zeros(mask.data.shape)
    top[10, 10, 15] = 1.0
    layout = Layout((Cut(1, 0.0),), 1, *box(mask), step=2.0)
    row, column = np.unravel_index(picture(Volume(top, AFFINE), layout).argmax(), layout.shape)
    assert row < layout.shape[0] / 2
    assert abs(column - layout.shape[1] / 2) <= 1


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.floats(0.5, 3.0))
def test_layouts_hold_every_cut(count: int, columns: int, step: float) -> None:
    mask = Volume(np.ones((5, 6, 7)), np.diag([3.0, 3.0, 3.0, 1.0]))
    layout = axial_layout(mask, count=count, columns=columns, step=step)
    rows = -(-count // columns)
    assert len(layout.cuts) == count
    assert layout.shape == (rows * layout.tile[0], columns * layout.tile[1])
    assert picture(mask, layout).shape == layout.shape
    assert len(three_axes_layout(mask, count=count).cuts) == 3 * count


def test_grey_spans_black_to_white_and_survives_an_empty_picture() -> None:
    image = np.linspace(-5, 300, 1000).reshape(20, 50)
    tones = grey(image)
    assert tones.min() == 0
    assert tones.max() == 255
    assert grey(np.zeros((4, 4))).max() == 0


def test_spectrum_finds_a_sine() -> None:
    time = np.arange(170) * 2.0
    series = np.tile(np.sin(2 * np.pi * 0.05 * time), (7, 1)) + 0.3 * time
    frequency, power = mean_spectrum(series, np.ones(7, dtype=bool), 2.0)
    assert frequency[power.argmax()] == pytest.approx(0.05, abs=0.003)
    assert frequency[-1] == 0.25


def test_rank_leaves_out_regions_without_data() -> None:
    np.testing.assert_array_equal(rank(np.array([3.0, np.nan, 1.0, 2.0])), [2, 3, 0])


def test_a_map_without_data_or_contrast_is_still_drawn(tmp_path: Path, brain: tuple[Volume, Volume]) -> None:
    image, mask = brain
    nothing = Volume(np.full(image.data.shape, np.nan), AFFINE)
    flat = Volume(np.ones(image.data.shape), AFFINE)
    for name, values in (("nothing", nothing), ("flat", flat)):
        path = plot_map(values, mask, image, mask, tmp_path / f"{name}.svg", name=name)
        assert "<image" in path.read_text()


def test_a_z_scored_map_has_a_symmetric_range(tmp_path: Path, brain: tuple[Volume, Volume]) -> None:
    image, mask = brain
    values = Volume(np.random.default_rng(0).normal(0.4, 1, image.data.shape), AFFINE)
    text = plot_map(values, mask, image, mask, tmp_path / "z.svg", name="z").read_text()
    limits = re.search(r"colours from -([\d.]+) to ([\d.]+);", text)
    assert limits is not None
    assert limits[1] == limits[2]


@pytest.mark.shared
def test_pictures_of_real_size_stay_small(tmp_path: Path, shared_data: Path) -> None:
    folder = shared_data / "tpl-MNI152NLin2009cAsym"
    names = ("desc-brain_T1w", "desc-brain_mask", "desc-fMRIPrep_boldref", "label-WM_probseg", "label-CSF_probseg")
    paths = [folder / f"tpl-MNI152NLin2009cAsym_res-2mm_{name}.nii.gz" for name in names]
    t1w, mask, epi, wm, csf = (load(path) for path in paths)
    sizes = [
        path.stat().st_size
        for path in (
            plot_registration(t1w, epi, mask, tmp_path / "a.svg", names=("T1w", "EPI"), contour=wm),
            plot_masks(epi, mask, tmp_path / "b.svg", wm=wm, csf=csf),
            plot_map(t1w, mask, t1w, mask, tmp_path / "c.svg", name="T1w"),
        )
    ]
    assert max(sizes) < 1_200_000
    # A run has two registrations, one figure of masks and four maps; base64 takes a third more.
    assert 4 / 3 * (2 * sizes[0] + sizes[1] + 4 * sizes[2]) < 7_000_000
