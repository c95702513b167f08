from __future__ import annotations

import numpy as np
import pytest

from migxai.bids.confounds import count_non_steady_state, read_confounds
from migxai.errors import InputError

OLD = (
    "CSF WhiteMatter GlobalSignal stdDVARS non-stdDVARS FramewiseDisplacement NonSteadyStateOutlier00 "
    "X Y Z RotX RotY RotZ"
)
NEW = (
    "csf white_matter global_signal std_dvars dvars framewise_displacement non_steady_state_outlier00 "
    "trans_x trans_y trans_z rot_x rot_y rot_z"
)


def table(path, header, rows):
    path.write_text("\n".join(["\t".join(header.split()), *("\t".join(row) for row in rows)]) + "\n")
    return path


def test_old_and_new_names_give_the_same_table(tmp_path):
    rows = [["n/a" if n in (3, 4, 5) else str(n) for n in range(13)], [str(n * 10) for n in range(13)]]
    old = read_confounds(table(tmp_path / "old.tsv", OLD, rows))
    new = read_confounds(table(tmp_path / "new.tsv", NEW, rows))
    assert list(old.columns) == NEW.split()
    assert old.equals(new)
    assert np.isnan(old["framewise_displacement"].iloc[0])
    assert old["rot_z"].iloc[1] == 120.0


@pytest.mark.parametrize(("marked", "count"), [([], 0), ([0], 1), ([0, 1, 2], 3), ([2], 3)])
def test_non_steady_state_volumes_are_counted_to_the_last(tmp_path, marked, count):
    motion = "trans_x trans_y trans_z rot_x rot_y rot_z"
    header = " ".join([motion, *(f"non_steady_state_outlier_{n:02d}" for n in range(len(marked)))])
    rows = [["0"] * 6 + [str(int(volume == at)) for at in marked] for volume in range(5)]
    assert count_non_steady_state(read_confounds(table(tmp_path / "c.tsv", header, rows))) == count


@pytest.mark.parametrize(
    ("header", "rows", "sentence"),
    [
        ("csf trans_x", [["1", "2"]], "lacks the motion parameters trans_y"),
        ("trans_x trans_y trans_z rot_x rot_y rot_z", [], "no row"),
        ("trans_x trans_y trans_z rot_x rot_y rot_z", [["a"] * 6], "holds text"),
        ("trans_x trans_y trans_z rot_x rot_y rot_z X", [["1"] * 7], "twice"),
    ],
)
def test_an_unusable_table_is_a_sentence(tmp_path, header, rows, sentence):
    with pytest.raises(InputError, match=sentence):
        read_confounds(table(tmp_path / "c.tsv", header, rows))
