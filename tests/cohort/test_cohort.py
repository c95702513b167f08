from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from migxai.bids.names import derivative_path
from migxai.bids.outputs import sidecar
from migxai.bids.records import SubjectRecord, write_record
from migxai.cohort.cohort import PEOPLE_COLUMNS, Cohort, read_cohort
from migxai.cohort.comparisons import parse_comparison
from migxai.config import Learning
from migxai.errors import InputError, UsageError
from migxai.io import write_json, write_nifti, write_tsv
from migxai.learning.splits import make_folds

SPACE = {"space": "MNI152NLin2009cAsym", "res": "3"}
REHO = {"Statistic": "reho", "Neighbours": 27, "Normalization": "divided by its mean in the mask, 0.5"}
SETTINGS = Learning()

Maps = Mapping[str, Sequence[Mapping[str, Any]]]


def dataset(root: Path, maps: Maps, table: str = "", *, name: str | None = "Study", seed: int = 0) -> Path:
    """A dataset of maps: of each person, entities, with ``fields`` of the sidecar (None for no sidecar)."""
    root.mkdir(parents=True, exist_ok=True)
    write_json(root / "dataset_description.json", {"BIDSVersion": "1.10.0"} | ({"Name": name} if name else {}))
    if table:
        (root / "participants.tsv").write_text(table)
    rng = np.random.default_rng(seed)
    for label, items in maps.items():
        for item in items:
            entities = {"sub": label, "task": "rest", "stat": "reho", **SPACE} | dict(item)
            fields, excluded = entities.pop("fields", REHO), entities.pop("excluded", None)
            path = root / derivative_path(entities, "boldmap", ".nii.gz")
            write_nifti(path, rng.random((3, 3, 3)), np.eye(4))
            if fields is not None:
                write_json(Path(str(path)[:-7] + ".json"), sidecar("x", excluded=excluded, **fields))
    return root


def people(*rows: str, header: str = "participant_id\tgroup") -> str:
    return "\n".join([header, *rows]) + "\n"


FOUR = people("sub-01\tHC", "sub-02\tMWA", "sub-03\tHC", "sub-04\tMWoA")
MAPS: Maps = {label: [{}] for label in ("01", "02", "03", "04")}


def read(*roots: Path, raw: Path | None = None, task: str | None = None, **settings: Any) -> Cohort:
    datasets = [(None, root) for root in roots]
    return read_cohort(datasets, replace(SETTINGS, **settings), participants_from=raw, task=task)


def reasons(roster: Cohort) -> dict[str, str]:
    return dict(zip(roster.left_out["participant_id"], roster.left_out["reason"], strict=True))


def test_people_come_with_their_maps_and_covariates(tmp_path):
    table = people(
        "sub-02\tMWA\t40\tF\tRome\t0.2\t7\tyes",
        "sub-01\tHC \tn/a\tM\tn/a\tn/a\t3\tn/a",
        header="participant_id\tgroup\tAge\tSex\tsite\tmean_fd\thamd-24\tmet",
    )
    roster = read(dataset(tmp_path / "a", {"01": [{}], "02": [{}, {"stat": "alff"}]}, table), indicators=("reho",))
    assert tuple(roster.people.columns) == (*PEOPLE_COLUMNS, "HAMD24", "met")
    assert list(roster.people["key"]) == ["Study/sub-01", "Study/sub-02"]
    assert list(roster.people["group"]) == ["HC", "MWA"]
    assert list(roster.people["site"]) == ["Study", "Rome"]
    np.testing.assert_array_equal(roster.people["age"], [np.nan, 40.0])
    np.testing.assert_array_equal(roster.people["mean_fd"], [np.nan, 0.2])
    assert list(roster.people["sex"]) == ["M", "F"]
    assert list(roster.people["HAMD24"]) == [3.0, 7.0]
    assert [[path.name[:6] for path in paths] for paths in roster.maps["reho"]] == [["sub-01"], ["sub-02"]]
    assert (roster.space, roster.res) == (SPACE["space"], "3")
    assert roster.definitions["reho"]["Neighbours"] == 27
    assert roster.left_out.empty


def test_runs_and_sessions_of_a_person_stay_together(tmp_path):
    maps = {
        "01": [{"ses": "1"}, {"ses": "2"}],
        "02": [{"run": "1"}, {"run": "2"}],
        "03": [{}, {"run": "1"}, {"run": "2"}],
        "04": [{"ses": "1", "excluded": "motion of 3 mm."}, {"ses": "2"}],
    }
    roster = read(dataset(tmp_path / "a", maps, FOUR))
    assert [len(paths) for paths in roster.maps["reho"]] == [2, 2, 1, 1]
    assert any("is left out of the mean of sub-04: motion of 3 mm." in text for text in roster.messages)


def test_everyone_left_out_has_a_reason(tmp_path):
    maps = {
        "01": [{}, {"stat": "alff"}],
        "02": [{"excluded": "motion of 3.1 mm"}, {"stat": "alff", "excluded": "motion of 3.1 mm"}],
        "03": [{}],
        "04": [{}, {"stat": "alff"}],
        "05": [{}, {"stat": "alff"}],
        "07": [{}, {"stat": "alff"}],
    }
    table = people("sub-01\tHC", "sub-02\tHC", "sub-03\tHC", "sub-04\tn/a", "sub-05\tHC", "sub-06\tHC", "sub-007\tHC")
    root = dataset(tmp_path / "a", maps, table)
    (root / "sub-05" / "func" / f"sub-05_task-rest_space-{SPACE['space']}_res-3_stat-alff_boldmap.nii.gz").write_text(
        ""
    )
    write_record(root, SubjectRecord("06", "failed", "0" * 12, error="No T1w image."))
    roster = read(root)
    assert list(roster.people["participant_id"]) == ["sub-01"]
    assert reasons(roster) == {
        "sub-02": "excluded: motion of 3.1 mm",
        "sub-03": "no map of alff",
        "sub-04": "no label: group is missing in participants.tsv",
        "sub-05": "sub-05/func/sub-05_task-rest_space-MNI152NLin2009cAsym_res-3_stat-alff_boldmap.nii.gz is empty "
        "(0 bytes); copy it again from its source",
        "sub-06": "no map: the participant level failed: No T1w image",
        "sub-007": "no map (there is sub-07: zeros in front of the number differ)",
        "sub-07": "no row in participants.tsv (there is sub-007: zeros in front of the number differ)",
    }
    assert any("Left out are 7 of 8 people (no map: 2, excluded: 1," in text for text in roster.messages)


def test_conditions_leave_people_out_with_the_reason(tmp_path):
    table = people(
        "sub-01\tHC\t30\tF", "sub-02\tMWA\t61\tF", "sub-03\tHC\tn/a\tF", "sub-04\tMWoA\t20\tM",
        header="participant_id\tgroup\tage\tsex",
    )  # fmt: skip
    roster = read(dataset(tmp_path / "a", MAPS, table), where=("age < 50", "sex == F and dataset == Study"))
    assert reasons(roster) == {
        "sub-02": "--where age < 50: age is 61",
        "sub-03": "--where age < 50: age is missing",
        "sub-04": "--where sex == F and dataset == Study: sex is M",
    }
    with pytest.raises(UsageError, match=r"no column 'aeg'; did you mean 'age'"):
        read(tmp_path / "a", where=("aeg < 50",))
    with pytest.raises(InputError, match=r"all 4 people are left out \(--where age > 99: 4\); sub-01 of Study, for"):
        read(tmp_path / "a", where=("age > 99",))


def test_displacement_comes_from_the_confounds_of_the_runs_used(tmp_path):
    maps = {"01": [{}], "02": [{}], "03": [{}], "04": [{}]}
    header = "participant_id\tgroup\tmean_fd"
    root = dataset(tmp_path / "a", maps, people("01\tHC\tn/a", "02\tHC\t0.5", "03\tHC\tn/a", "04\tHC\t", header=header))
    for name, values, excluded in (
        ("sub-01_task-rest_run-1", ["n/a", "0.1", "0.3", "9"], None),
        ("sub-01_task-rest_run-2", ["n/a", "0.4", "0.4", "9"], None),
        ("sub-01_task-rest_run-3", ["n/a", "5", "5", "9"], "motion"),
        ("sub-01_task-nback", ["n/a", "7", "7", "9"], None),
        ("sub-02_task-rest", ["n/a", "7", "7", "9"], None),
        ("sub-03_task-rest", ["n/a", "n/a", "n/a", "9"], None),
    ):
        path = root / name[:6] / "func" / f"{name}_desc-confounds_timeseries.tsv"
        rows = "\n".join(f"{value}\t{kept}" for value, kept in zip(values, "1110", strict=True))
        path.write_text(f"framewise_displacement\tkept\n{rows}\n")
        write_json(path.with_suffix(".json"), sidecar("x", excluded=excluded))
    roster = read(root, where=("mean_fd < 0.5 or participant_id != sub-02",))
    np.testing.assert_allclose(roster.people["mean_fd"], [0.3, np.nan, np.nan])
    assert "mean_fd is 0.5" in reasons(roster)["sub-02"]
    (root / "participants.tsv").write_text(people("01\tHC\tlow", header=header))
    with pytest.raises(InputError, match=r"mean_fd of sub-01 is 'low', not a number"):
        read(root)


def test_sites_are_pooled_and_the_same_label_is_two_people(tmp_path):
    first = dataset(tmp_path / "a", {"01": [{}]}, people("sub-01\tHC"), name="migxai derivatives of A/B")
    table = people("sub-01\tMWA\tx", "sub-02\tHC\tx", header="participant_id\tGroup\tscanner")
    second = dataset(tmp_path / "b", {"01": [{}], "02": [{}]}, table, name="migxai derivatives of A/B", seed=1)
    with pytest.raises(UsageError, match=r"Two datasets are called 'A-B'; name one otherwise with -d NAME=PATH"):
        read(first, second)
    roster = read_cohort([(None, first), ("rome", second)], SETTINGS)
    assert list(roster.people["key"]) == ["A-B/sub-01", "rome/sub-01", "rome/sub-02"]
    assert list(roster.people["site"]) == ["A-B", "rome", "rome"]
    assert list(roster.people["group"]) == ["HC", "MWA", "HC"]
    assert "participants.tsv has no column 'site', so each dataset counts as one site." in roster.messages
    with pytest.raises(UsageError, match="are the same folder"):
        read_cohort([(None, first), ("rome", tmp_path / "b" / ".." / "a")], SETTINGS)
    scanner = read_cohort([(None, first), ("rome", second)], replace(SETTINGS, site_column="scanner"))
    assert list(scanner.people["site"]) == ["A-B", "x", "x"]


def test_site_columns(tmp_path):
    table = people("sub-01\tHC\tn/a", "sub-02\tHC\tunnamed dataset", "sub-03\tHC\tX", header=FOUR[:20] + "\tsite")
    first = dataset(tmp_path / "a", MAPS, table)
    second = dataset(
        tmp_path / "b", {"09": [{}]}, people("sub-09\tHC\tX", header=FOUR[:20] + "\tsite"), name="B", seed=1
    )
    roster = read(first, second)
    assert list(roster.people["site"]) == ["X", "Study", "Study", "X"]
    assert "People of B and Study count as one site, 'X', as their tables say." in roster.messages
    with pytest.raises(UsageError, match=r"has the site column 'centre'; there are: group, site"):
        read(first, second, site_column="centre")


def test_raw_data_add_columns_to_their_own_derivatives_only(tmp_path):
    first = dataset(
        tmp_path / "a", {"01": [{}], "02": [{}]}, people("sub-01\t30", "sub-02\t40", header="participant_id\tage")
    )
    second = dataset(tmp_path / "b", {"01": [{}]}, people("sub-01\tHC", header="participant_id\tDX"), name="B", seed=1)
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "participants.tsv").write_text(
        people("01\tHC\t30\tJane", "02\tMWA\t41\tJohn", "03\tHC\t50\tJim", header="participant_id\tdx\tAge\tname")
    )
    roster = read(first, second, raw=raw, label_column="dx")
    assert list(roster.people["group"]) == ["HC", "HC", "MWA"]
    assert list(roster.people["age"][1:]) == [30.0, 40.0]
    assert list(roster.people["name"][1:]) == ["Jane", "John"]
    assert roster.people["name"].isna()[0]
    assert reasons(roster) == {"sub-03": "no map"}
    assert any("differ in age; the one beside the maps is used" in text for text in roster.messages)
    assert "name" not in roster.cohort_table()
    (first / "participants.tsv").write_text(people("sub-01\tMWA", "sub-02\tMWA", header="participant_id\tDx"))
    with pytest.raises(
        InputError, match=r"sub-01 of Study is in two groups: Dx is 'MWA' .* and 'HC' in that of the raw"
    ):
        read(first, second, raw=raw, label_column="dx")


@pytest.mark.parametrize(
    ("table", "settings", "says"),
    [
        ("", {}, r"Study has no participants.tsv with people in it.*participant_id and group"),
        (people("sub-01\tHC", header="participant_id\tgruop"), {}, r"no column 'group'.*did you mean gruop\?"),
        (people("sub-01\tHC", header="participant_id\tdx"), {}, r"no column 'group'.*it has dx"),
        (people("sub-01\tHC", header="subject\tgroup"), {}, "no column participant_id"),
        (people("sub-01\tHC", "01\tHC"), {}, "names sub-01 more than once; keep"),
        (people("sub-01\tHC", "sub-01\tMWA"), {}, r"names sub-01 more than once \(group HC and MWA\)"),
        (
            people("sub-01\tHC\tMWA", header="participant_id\tgroup\tGroup "),
            {},
            r"two columns of one name.*'HC' and 'MWA'",
        ),
        (people("sub-01\tHC\tHC", header="participant_id\tgroup\tgroup"), {}, "the column 'group' twice"),
        (people("sub-01\tHC\t", "sub-02\tHC\t"), {}, "more cells than the header"),
        (people("\tHC"), {}, "names nobody in line 2"),
        (people("sub-1\tHC"), {}, r"None of the 4 people.*sub-01 is not there \(there is sub-1: zeros in front of the"),
        (people("sub-x1\tHC"), {}, r"None of the 4 people who have maps in Study is in its participants.tsv"),
        (FOUR, {"indicators": ("alff",)}, "Study holds no map of alff; it holds reho"),
        (people("sub-01\t"), {}, "Nobody is left to compare"),
    ],
)
def test_tables_that_do_not_fit_are_a_sentence(tmp_path, table, settings, says):
    root = dataset(tmp_path / "a", MAPS, table)
    with pytest.raises(InputError, match=says):
        read(root, **settings)


def test_tables_as_people_write_them_are_read(tmp_path):
    rows = ["01 \tHC \tHC\t89+", "sub-02\tMWA\tMWA\t20", "\t\t\t", "sub-03\tHC\tHC", ""]
    table = "\r\n".join(["\ufeffparticipant_id\tGroup \tgroup\tAge", *rows])
    roster = read(dataset(tmp_path / "a", MAPS, table))
    assert list(roster.people["group"]) == ["HC", "MWA", "HC"]
    np.testing.assert_array_equal(roster.people["age"], [np.nan, 20.0, np.nan])
    assert any("which are the same" in text for text in roster.messages)
    assert any("1 ages are no numbers (such as '89+')" in text for text in roster.messages)
    assert reasons(roster) == {"sub-04": "no row in participants.tsv"}


def test_upper_and_lower_case_of_labels_is_told(tmp_path):
    root = dataset(tmp_path / "a", {"A1": [{}], "b2": [{}]}, people("sub-a1\tHC", "sub-b2\tHC"))
    assert reasons(read(root))["sub-A1"].endswith("(there is sub-a1: upper and lower case differ)")


def test_indicators_are_those_that_all_datasets_hold(tmp_path):
    both = [{}, {"stat": "alff", "fields": None}, {"stat": "falff"}, {"stat": "rfcs", "desc": "zscore"}]
    first = dataset(tmp_path / "a", {"01": both, "02": both}, FOUR)
    roster = read(first)
    assert list(roster.maps) == ["alff", "reho"]
    assert "Indicators: alff, reho." in roster.messages
    assert list(read(first, indicators=("falff",)).maps) == ["falff"]
    second = dataset(tmp_path / "b", {"01": [{}]}, FOUR, name="B", seed=1)
    roster = read(first, second)
    assert list(roster.maps) == ["reho"]
    assert any("Not every dataset holds alff" in text for text in roster.messages)
    with pytest.raises(InputError, match="B holds no map of alff"):
        read(first, second, indicators=("alff", "reho"))
    third = dataset(tmp_path / "c", {"01": [{"stat": "dc"}]}, FOUR, name="C")
    with pytest.raises(InputError, match=r"no indicator of alff, reho, rfcs .*C: dc"):
        read(third)
    fourth = dataset(tmp_path / "d", {"01": [{"desc": "zscore"}]}, FOUR, name="D")
    with pytest.raises(InputError, match="D holds no map without desc-"):
        read(fourth)


def test_one_task_is_used(tmp_path):
    two = [{}, {"task": "nback"}]
    root = dataset(tmp_path / "a", {"01": two, "02": two, "03": [{"task": "nback"}]}, FOUR)
    roster = read(root)
    assert [path.name[7:16] for (path,) in roster.maps["reho"]] == ["task-rest"] * 2
    assert reasons(roster)["sub-03"] == "no map of reho"
    assert "Study: the maps of task rest are used, those of nback are not." in roster.messages
    assert len(read(root, task="nback").people) == 3
    other = dataset(tmp_path / "b", {"01": [{"task": "resting"}]}, FOUR, name="B", seed=1)
    assert "B holds no map of task rest; the only task it has, resting, is used." in read(other, task="rest").messages
    tied = dataset(tmp_path / "c", {"01": [{"task": "eyes"}], "02": [{"task": "closed"}]}, FOUR, name="C")
    with pytest.raises(InputError, match=r"several tasks \(closed, eyes\).*-t/--task-id"):
        read(tied)


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (
            {"space": "MNI152NLin6Asym"},
            r"space-MNI152NLin2009cAsym and space-MNI152NLin6Asym are mixed: sub-01\S* of A, ",
        ),
        ({"space": None}, "and no space are mixed"),
        ({"res": "2"}, "res-3 and res-2 are mixed"),
        ({"fields": REHO | {"Neighbours": 7}}, r"Neighbours is 27 for sub-01\S* of A, and 7 for sub-01\S* of B"),
        ({"fields": REHO | {"Normalization": "none"}}, "Normalization is 'divided by its mean in the mask' for"),
        ({"fields": REHO | {"Statistic": "cohe"}}, "Statistic is 'reho'"),
    ],
)
def test_maps_that_do_not_belong_together_are_a_sentence(tmp_path, item, says):
    first = dataset(tmp_path / "a", {"01": [{}]}, FOUR, name="A")
    second = dataset(tmp_path / "b", {"01": [item]}, FOUR, name="B", seed=1)
    with pytest.raises(InputError, match=says):
        read(first, second)


def test_what_may_differ_does_not_stop_anything(tmp_path):
    fields = REHO | {
        "Normalization": "divided by its mean in the mask, 0.7",
        "RepetitionTime": 3.0,
        "FrequencyBand": [0.01, 0.08],
    }
    first = dataset(tmp_path / "a", {"01": [{}]}, FOUR, name="A")
    second = dataset(tmp_path / "b", {"01": [{"fields": fields}]}, FOUR, name="B", seed=1)
    third = dataset(tmp_path / "c", {"01": [{"fields": None, "res": None}]}, FOUR, name="C", seed=2)
    roster = read(first, second, third)
    assert roster.definitions["reho"]["FrequencyBand"] == [0.01, 0.08]
    assert roster.res == "3"
    text = "\n".join(roster.messages)
    assert "1 of the 3 maps of reho have no sidecar that says how they were made (such as sub-01" in text
    assert "1 maps, such as sub-01" in text
    made = next((second / "sub-01" / "func").glob("*.json"))
    made.write_text(json.dumps(json.loads(made.read_text()) | {"GeneratedBy": {"Name": "migxai", "Version": "0.0.1"}}))
    assert any("made by different versions: migxai 0.0.1 (1), migxai" in text for text in read(first, second).messages)


def test_one_person_under_two_names_is_refused(tmp_path):
    first = dataset(tmp_path / "a", MAPS, FOUR, name="A")
    source = next((first / "sub-01" / "func").glob("*.nii.gz"))
    second = dataset(tmp_path / "b", {"09": [{}]}, people("sub-09\tMWA"), name="B", seed=1)
    next((second / "sub-09" / "func").glob("*.nii.gz")).write_bytes(source.read_bytes())
    with pytest.raises(
        InputError, match="sub-01 of A and sub-09 of B are the same person under two names: their maps of"
    ):
        read(first, second)


def test_columns_called_like_ours_keep_their_content(tmp_path):
    table = people("sub-01\tx\tHC\tk", "sub-02\ty\tMWA\tl", header="participant_id\tgroup\tdiagnosis\tkey")
    roster = read(dataset(tmp_path / "a", MAPS, table), label_column="diagnosis", where=("group in (x, y)",))
    assert list(roster.people["group"]) == ["HC", "MWA"]
    assert list(roster.people["table_group"]) == ["x", "y"]
    assert list(roster.people["table_key"]) == ["k", "l"]
    assert list(roster.people["diagnosis"]) == ["HC", "MWA"]


def test_labels_of_digits_stay_text(tmp_path):
    table = people("sub-01\t1\t01", "sub-02\t2\t2", header="participant_id\tgroup\tsite")
    roster = read(dataset(tmp_path / "a", MAPS, table))
    assert list(roster.people["group"]) == ["1", "2"]
    assert list(roster.people["site"]) == ["01", "2"]


def test_the_cohort_table_says_who_is_in_and_why_not(tmp_path):
    roster = read(dataset(tmp_path / "a", MAPS, people("sub-04\tMWA", "sub-01\tHC", "sub-02\tCM", "sub-05\tHC")))
    table = roster.cohort_table([parse_comparison("x=HC:MWA")])
    assert list(table.columns[:4]) == ["dataset", "participant_id", "included", "reason"]
    assert list(table["participant_id"]) == ["sub-01", "sub-02", "sub-03", "sub-04", "sub-05"]
    assert list(table["included"]) == ["yes", "yes", "no", "yes", "no"]
    assert list(table["class_x"].fillna("n/a")) == ["HC", "n/a", "n/a", "MWA", "n/a"]
    assert list(table["reason"].fillna("n/a"))[2:] == ["no row in participants.tsv", "n/a", "no map"]
    write_tsv(tmp_path / "cohort.tsv", table)
    assert "Study\tsub-05\tno\tno map\tHC\tStudy\tn/a" in (tmp_path / "cohort.tsv").read_text()


def test_people_leave_for_what_their_maps_turn_out_to_be(tmp_path):
    roster = read(dataset(tmp_path / "a", {**MAPS, "05": [{}]}, FOUR))
    left = roster.without({"Study/sub-02": "covers 40 % of the brain", "Study/sub-04": "constant"})
    assert list(left.people["participant_id"]) == ["sub-01", "sub-03"]
    assert [path.name[:6] for (path,) in left.maps["reho"]] == ["sub-01", "sub-03"]
    assert reasons(left) == {
        "sub-02": "covers 40 % of the brain",
        "sub-04": "constant",
        "sub-05": "no row in participants.tsv",
    }
    assert len(roster.people) == 4
    with pytest.raises(InputError, match="Nobody is left"):
        roster.without(dict.fromkeys(roster.people["key"], "constant"))


@pytest.mark.parametrize("cv", ["kfold", "leave-one-out", "leave-one-site-out"])
def test_the_smallest_fold_is_what_the_folds_hold(tmp_path, cv):
    groups = ["HC"] * 7 + ["MWA"] * 5 + ["MWoA"] * 3
    sites = ["A", "B", "A", "A", "B"] * 3
    rows = [f"sub-{n:02d}\t{g}\t{s}" for n, (g, s) in enumerate(zip(groups, sites, strict=True))]
    maps = {f"{n:02d}": [{}] for n in range(15)}
    roster = read(dataset(tmp_path / "a", maps, people(*rows, header="participant_id\tgroup\tsite")))
    comparison = parse_comparison("x=HC:MWA+MWoA")
    table = roster.class_table(comparison, cv, 3)
    assert list(table.columns) == ["class", "A", "B", "all", "smallest_test", "smallest_train"]
    assert list(table["class"]) == ["HC", "MWA+MWoA", "all"]
    assert table.iloc[2]["A"] == 9
    chosen, classes = comparison.members(roster.people["group"])
    labels, of_site = np.array(classes), list(roster.people["site"].iloc[chosen])
    made, _ = make_folds(labels, of_site, cv=cv, folds=3, trials=1, seed=0)
    for place in (0, 1):
        assert table["all"][place] == (labels == place).sum()
        assert table["smallest_test"][place] == min((labels[fold.test] == place).sum() for fold in made)
        assert table["smallest_train"][place] == min((labels[fold.train] == place).sum() for fold in made)
    assert table["smallest_test"][2] == min(len(fold.test) for fold in made)
    assert table["smallest_train"][2] == min(len(fold.train) for fold in made)


def test_raw_images_are_never_read(tmp_path):
    raw = tmp_path / "raw"
    (raw / "sub-01" / "func").mkdir(parents=True)
    (raw / "sub-01" / "func" / "sub-01_task-rest_bold.nii.gz").write_text("no image")
    (raw / "participants.tsv").write_text(FOUR)
    root = dataset(tmp_path / "a", MAPS)
    before = read(root, raw=raw)
    (raw / "sub-01" / "func" / "sub-01_task-rest_bold.nii.gz").unlink()
    assert read(root, raw=raw).people.equals(before.people)


@pytest.mark.shared
def test_a_dataset_of_another_program_is_read(shared_data):
    roster = read(shared_data / "abide-reho-3sites")
    assert len(roster.people) == 114
    assert list(roster.maps) == ["reho"]
    assert roster.people[["age", "sex", "mean_fd"]].notna().all(axis=None)
    assert roster.people["group"].value_counts().to_dict() == {"autism": 57, "control": 57}
    assert any("All 114 maps of reho have no sidecar" in text for text in roster.messages)
    table = roster.class_table(parse_comparison("x=control:autism"), "kfold", 5)
    assert table.set_index("class").loc["control"].to_dict() == {
        "OLIN": 11, "PITT": 23, "TRINITY": 23, "all": 57, "smallest_test": 11, "smallest_train": 45,
    }  # fmt: skip
