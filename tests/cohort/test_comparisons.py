from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migxai.cohort.comparisons import BUILT_IN, Comparison, choose_comparisons, parse_comparison, parse_comparisons
from migxai.errors import InputError, UsageError

PAPER = ["HC"] * 5 + ["MWoA"] * 4 + ["MWA"] * 3


def test_a_comparison_is_read_from_text():
    found = parse_comparison("mine = a : b+c")
    assert found == Comparison("mine", (("a", ("a",)), ("b+c", ("b", "c"))))
    assert found.labels == ("a", "b+c")
    assert found.text == "mine=a:b+c"
    assert parse_comparison("HC_vs_Migraine").text == "hc_vs_migraine=HC:MWoA+MWA"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hc_vs_migrane", r"did you mean 'hc_vs_migraine' or .*\? Say .*NAME=A:B\+C"),
        ("something", r"there are hc_vs_migraine, hc_vs_mwoa_vs_mwa, mwoa_vs_mwa"),
        ("", r"no comparison ''"),
        ("a b=x:y", r"'a b' can't name.*letters, digits and _"),
        ("../x=x:y", "can't name"),
        ("x=a", "one class alone"),
        ("x=", "empty class"),
        ("x=a:", "empty class"),
        ("x=a:b+", "empty class"),
        ("x=a:b+a", "names 'a' twice"),
        ("x=a+A:b", "twice"),
    ],
)
def test_what_is_no_comparison_is_a_sentence(text, says):
    with pytest.raises(UsageError, match=says):
        parse_comparison(text)


def test_names_are_not_used_twice():
    with pytest.raises(UsageError, match="Two comparisons are called 'x'"):
        parse_comparisons(["x=a:b", "X=a:c"])


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        found = parse_comparison(text)
    except UsageError:
        return
    assert len(found.classes) >= 2
    assert parse_comparison(found.text) == found


def test_people_fall_into_classes():
    comparison = parse_comparison("hc_vs_migraine")
    assert comparison.members(["HC", "MWA", "other", None, "MWoA"]) == ([0, 1, 4], [0, 1, 1])


def test_the_papers_three_are_the_default_in_the_tables_spelling():
    chosen, messages = choose_comparisons([], [label.replace("oA", "OA") for label in PAPER])
    assert [item.name for item in chosen] == list(BUILT_IN)
    assert chosen[0].text == "hc_vs_migraine=HC:MWOA+MWA"
    assert chosen[0].labels == ("HC", "MWOA+MWA")
    assert not messages


def test_people_in_no_comparison_are_named():
    _, messages = choose_comparisons([], [*PAPER, "CM", "CM"])
    assert messages == ("In no comparison are the people whose group is CM (2).",)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (["autism", "control"], "control_vs_autism=control:autism"),
        (["Zebra", "TD", "ADHD"], "TD_vs_ADHD_vs_Zebra=TD:ADHD:Zebra"),
        (["MWoA", "HC"], "HC_vs_MWoA=HC:MWoA"),
        (["2", "10"], "2_vs_10=2:10"),
        (["first episode", "Healthy Control"], "Healthy_Control_vs_first_episode=Healthy Control:first episode"),
    ],
)
def test_otherwise_the_labels_found_are_compared_controls_first(labels, text):
    chosen, messages = choose_comparisons([], labels, column="dx")
    assert [item.text for item in chosen] == [text]
    assert text in messages[0]


def test_it_is_said_which_class_is_positive_and_when_the_alphabet_chose():
    assert "'autism' counts as positive." in choose_comparisons([], ["control", "autism"])[1][0]
    assert "by the alphabet alone" in choose_comparisons([], ["1", "2"])[1][0]


@pytest.mark.parametrize(
    ("labels", "error", "says"),
    [
        (["HC"] * 4, InputError, "one label only, 'HC'"),
        ([], InputError, "no label"),
        ([str(age) for age in range(18, 60)], InputError, r"numbers \(42 different ones, 18 to 59\).*--label-column"),
        (["0.5", "1.5"], InputError, "holds numbers"),
        ([f"name{number}" for number in range(30)], InputError, "30 different labels"),
        (["HC", "hc", "MWA"], InputError, "both 'HC' and 'hc'"),
    ],
)
def test_a_column_of_no_classes_is_a_sentence(labels, error, says):
    with pytest.raises(error, match=says):
        choose_comparisons([], labels)


def test_unknown_labels_name_those_that_come_near():
    with pytest.raises(UsageError, match=r"label 'MWO', which column 'group' does not hold; did you mean 'MWoA'"):
        choose_comparisons(["x=HC:MWO"], PAPER)
    with pytest.raises(UsageError, match="it holds HC, MWA, MWoA"):
        choose_comparisons(["x=HC:epilepsy"], PAPER)
    with pytest.raises(InputError, match="holds numbers"):
        choose_comparisons(["hc_vs_migraine"], [str(age) for age in range(18, 60)])


def test_a_class_with_nobody_left_is_a_sentence():
    with pytest.raises(InputError, match=r"Class 'MWA' of x has nobody left"):
        choose_comparisons(["x=HC:MWA"], ["HC", "HC"], left_out=["MWA"])
    chosen, _ = choose_comparisons(["x=hc:mwa+mwoa"], ["HC", "MWoA"], left_out=["MWA"])
    assert chosen[0].text == "x=HC:MWA+MWoA"


def test_the_command_line_reads_them_without_numerical_libraries():
    code = (
        "import sys; from migxai.cohort.comparisons import parse_comparison; "
        "from migxai.cohort.query import parse_where; "
        "parse_comparison('x=a:b'); parse_where('age < 5'); sys.exit(any(m in sys.modules for m in ('numpy','pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
