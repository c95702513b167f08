from __future__ import annotations

import contextlib
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migxai.cohort.query import check_columns, parse_where
from migxai.errors import UsageError

ROW = {"age": "34", "sex": "F", "site": "Rome North", "BMI": None, "mean_fd": 0.25, "group": "1", "x y": "a"}


def holds(text: str) -> bool | None:
    return parse_where(text).judge(ROW)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("age < 50", True),
        ("age<34", False),
        ("age <= 34.0", True),
        ("age > -3", True),
        ("age >= 35", False),
        ("age == 34.0", True),
        ("age != 34", False),
        ("sex == F", True),
        ('sex == "F"', True),
        ("sex == f", False),
        ("sex != M", True),
        ("group == 1.0", True),
        ("mean_fd < 0.3", True),
        ("mean_fd == .25", True),
        ("site in (Milan, 'Rome North')", True),
        ("site in (Milan)", False),
        ("age in (33, 34)", True),
        ("`x y` == a", True),
        ("BMI < 30", None),
        ("BMI != 30", None),
        ("age < 50 and sex == F", True),
        ("age < 50 and sex == M", False),
        ("age > 50 or sex == F", True),
        ("sex == M or age < 50 and site == Milan", False),
        ("(sex == F or age < 50) and site == 'Rome North'", True),
        ("BMI < 30 or sex == F", True),
        ("BMI < 30 and sex == M", False),
        ("BMI < 30 and sex == F", None),
        ("BMI < 30 or sex == M", None),
        ("age < 50 AND sex == F", True),
    ],
)
def test_conditions_hold_or_not_or_are_unknown(text, expected):
    assert holds(text) is expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("age > 50", "age is 34"),
        ("mean_fd > 1", "mean_fd is 0.25"),
        ("BMI < 30 and age > 20", "BMI is missing"),
        ("sex == M and age > 50", "sex is F, age is 34"),
        ("sex == M or BMI > 3", "sex is F, BMI is missing"),
    ],
)
def test_the_reason_is_said(text, why):
    assert parse_where(text).judge(ROW) == (None if "BMI" in why else False, why)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a column's name is expected, not 'the end'"),
        ("age", r"after 'age' one of < <= > >= == != in"),
        ("age = 5", "not '='"),
        ("age <", "a value is expected"),
        ("age < old", "'<' puts numbers in order, and 'old' is none"),
        ("age < nan", "puts numbers in order"),
        ("age < 5 sex == F", "'and' or 'or' is missing before 'sex'"),
        ("(age < 5", r"'\)' is expected"),
        ("age < 5)", "before '\\)'"),
        ("age in 5", r"'\(' is expected"),
        ("age in ()", "a value is expected"),
        ("age < 5 and", "a column's name is expected"),
        ("sex == 'F", "can't be read"),
        ("not age < 5", "a column's name is expected, not 'not'"),
        ("__import__('os')", "after '__import__'"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(text, says):
    with pytest.raises(UsageError, match=says):
        parse_where(text)


def test_text_is_not_put_in_order():
    with pytest.raises(UsageError, match=r"'sex' holds text \('F'\), which '<' can't put in order"):
        holds("sex < 3")


def test_unknown_columns_name_those_that_come_near():
    condition = parse_where("Aeg < 50 and sex == F")
    assert condition.columns() == ("Aeg", "sex")
    with pytest.raises(UsageError, match=r"no column 'Aeg'; did you mean 'age'\?"):
        check_columns(condition, ["age", "sex"], "Aeg < 50")
    with pytest.raises(UsageError, match=r"no column 'Aeg'; it has sex, group"):
        check_columns(condition, ["sex", "group"], "Aeg < 50")
    check_columns(condition, ["Aeg", "sex"], "")


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(UsageError):
        assert parse_where(text).columns()


SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne}


@st.composite
def expressions(draw, depth: int = 3) -> tuple[str, str]:
    """A condition, and the same in Python."""
    if depth == 0 or draw(st.booleans()):
        sign, column = draw(st.sampled_from(list(SIGNS))), draw(st.sampled_from(["a", "b"]))
        value = draw(st.integers(-3, 3))
        return f"{column} {sign} {value}", f"({column} {sign} {value})"
    word = draw(st.sampled_from(["and", "or"]))
    parts = [draw(expressions(depth - 1)) for _ in range(2)]
    return f"({parts[0][0]}) {word} ({parts[1][0]})", f"({parts[0][1]} {word} {parts[1][1]})"


@given(expressions(), st.integers(-3, 3), st.integers(-3, 3))
def test_conditions_mean_what_python_means_by_them(pair, a, b):
    text, python = pair
    assert parse_where(text).judge({"a": str(a), "b": float(b)})[0] is eval(python, {"a": a, "b": b})
