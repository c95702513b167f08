import numpy as np
import pytest

from migxai.errors import AtlasError
from migxai.explain.regions import LEAST_VOXELS, mean_by_region, region_table

NAMES = {3: "Cuneus_L", 7: "Temporal_Mid_R", 9: "Frontal_Sup_L", 11: "Vermis_3"}


@pytest.fixture
def brain():
    """Ten voxels in each of three regions, one in a fourth, ten in none."""
    labels = np.repeat([3, 7, 9, 11, 0], [10, 10, 10, 1, 10])
    positions = np.column_stack([np.where(labels == 7, 30.0, -30.0), np.arange(41.0), np.full(41, 6.0)])
    return labels, positions


def test_regions_are_described(brain):
    labels, positions = brain
    row = np.where(labels == 3, 1.0, 0.0) + np.where(labels == 7, -3.0, 0.0)
    row[4] = 5.0
    table = region_table(row, labels, NAMES, positions).set_index("region")
    assert table.loc["Cuneus_L", "mean"] == pytest.approx(1.4)
    assert table.loc["Cuneus_L", "peak"] == 5.0
    assert table.loc["Cuneus_L", ["peak_x", "peak_y", "peak_z"]].tolist() == [-30.0, 4.0, 6.0]
    assert table.loc["Cuneus_L", "hemisphere"] == "left"
    assert table.loc["Temporal_Mid_R", "hemisphere"] == "right"
    assert table["rank"].dropna().to_dict() == {"Cuneus_L": 1, "Frontal_Sup_L": 2, "Temporal_Mid_R": 3}
    assert table["paper"].to_dict() == {
        "Cuneus_L": True,
        "Temporal_Mid_R": False,
        "Frontal_Sup_L": True,
        "Vermis_3": False,
    }
    two_sided = region_table(row, labels, NAMES, positions, two_sided=True).set_index("region")
    assert two_sided.loc["Temporal_Mid_R", "rank"] == 1


def test_the_top_decile_adds_up_to_no_more_than_one(brain):
    labels, positions = brain
    row = np.random.default_rng(0).standard_normal(len(labels))
    share = region_table(row, labels, NAMES, positions)["top_decile"].dropna()
    assert 0 <= share.sum() <= 1


def test_a_region_that_slices_hardly_show_has_no_values(brain):
    labels, positions = brain
    table = region_table(np.ones(len(labels)), labels, NAMES, positions).set_index("region")
    assert LEAST_VOXELS > 1
    assert table.loc["Vermis_3", "n_voxels"] == 1
    assert table.loc["Vermis_3", ["mean", "rank", "peak"]].isna().all()
    assert np.isnan(mean_by_region(np.ones((2, len(labels))), labels, (11,))).all()


def test_an_atlas_elsewhere_is_refused(brain):
    labels, positions = brain
    with pytest.raises(AtlasError, match="No region of the atlas"):
        region_table(np.ones(len(labels)), np.zeros_like(labels), NAMES, positions)
