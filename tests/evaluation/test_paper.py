"""Tables laid out as the paper's."""

import numpy as np
import pandas as pd
import pytest

from migxai.evaluation.cohort_statistics import describe_cohort
from migxai.evaluation.paper import (
    NOTES,
    TABLE_2,
    TABLE_3,
    p_text,
    percent_text,
    published_problems,
    table_1,
    table_2,
    table_3,
)


def scored(rows):
    """A table of scores with (comparison, indicator, model, level, metric, value, sd)."""
    return pd.DataFrame(rows, columns=["comparison", "indicator", "model", "level", "metric", "value", "sd"])


@pytest.fixture
def scores():
    three, two = "hc_vs_mwoa_vs_mwa", "hc_vs_migraine"
    return scored(
        [
            (two, "falff", "timm:convnext", "subject", "accuracy", 0.5, np.nan),
            (three, "rfcs", "svm", "subject", "accuracy", 0.51, 0.01),
            (three, "rfcs", "svm", "subject", "roc_auc_ovr_macro", 0.66, 0.02),
            (three, "rfcs", "googlenet", "subject", "accuracy", 0.61234, 0.0123),
            (three, "rfcs", "googlenet", "slice", "accuracy", 0.55, 0.02),
            (three, "rfcs", "googlenet", "subject", "f1_macro", np.nan, np.nan),
            (two, "alff", "googlenet", "slice", "f1_macro", 0.5, 0.1),
            (two, "alff", "resnet18", "subject", "accuracy", 0.7, 0.1),
        ]
    )


def test_table_2_has_the_papers_order_and_its_values_beside_ours(scores):
    found = table_2(scores)
    assert found[["Model", "Indicator", "Comparison"]].to_numpy().tolist() == [
        ["ResNet18", "ALFF", "HC versus migraine"],
        ["GoogLeNet", "ALFF", "HC versus migraine"],
        ["GoogLeNet", "RFCS", "HC versus MWoA versus MWA"],
        ["SVM", "RFCS", "HC versus MWoA versus MWA"],
        ["timm:convnext", "fALFF", "HC versus migraine"],
    ]
    best = found.iloc[2]
    assert best["Accuracy (%), subjects"] == "61.23 (1.23)"
    assert best["Accuracy (%), slices"] == "55.00 (2.00)"
    assert best["Accuracy (%), paper"] == "98.44 (0.29)"
    assert best["F1 (%), subjects"] == ""
    assert best["F1 (%), paper"] == "98.3 (0.30)"
    other = found.iloc[4]
    assert other["Accuracy (%), subjects"] == "50.00"
    assert other["Accuracy (%), paper"] == other["F1 (%), paper"] == ""


def test_table_3_has_columns_by_model(scores):
    found = table_3(scores)
    assert list(found.columns) == [
        "Score (%)",
        "GoogLeNet, subjects",
        "GoogLeNet, slices",
        "GoogLeNet, paper",
        "SVM, subjects",
        "SVM, paper",
    ]
    assert found["Score (%)"].tolist() == ["Accuracy", "Precision", "Recall", "F1", "AUC"]
    assert found["SVM, subjects"].tolist() == ["51.00 (1.00)", "", "", "", "66.00 (2.00)"]
    assert found["GoogLeNet, paper"].tolist() == [
        "98.44 (0.29)",
        "86.44 (0.26)",
        "84.1 (0.32)",
        "98.3 (0.30)",
        "98.63 (0.19)",
    ]
    other = table_3(scores, comparison="hc_vs_migraine", indicator="alff")
    assert list(other.columns) == ["Score (%)", "ResNet18, subjects", "GoogLeNet, subjects", "GoogLeNet, slices"]
    assert not any("paper" in name for name in other.columns)
    assert table_3(scores, comparison="mwoa_vs_mwa").empty


def test_table_1_finds_the_papers_variables():
    table = pd.DataFrame(
        {
            "group": ["HC"] * 28 + ["MWoA"] * 21 + ["MWA"] * 15,
            "sex": ["M"] * 13 + ["F"] * 15 + ["M"] * 7 + ["F"] * 14 + ["M"] * 4 + ["F"] * 11,
            "Age": np.arange(64.0),
            "education_years": np.arange(64.0) % 7,
            "HAMD_24": np.r_[np.nan, np.arange(63.0)],
            "14-HAMA": np.arange(64.0),
            "weight": np.arange(64.0),
        }
    )
    found = table_1(describe_cohort(table, "group", groups=["MWoA", "MWA", "HC"])).set_index("Variable")
    assert list(found.index) == ["sex: F", "sex: M", "Age", "education_years", "HAMD_24", "14-HAMA", "weight"]
    male = found.loc["sex: M"]
    assert male[["MWoA", "MWA", "HC"]].tolist() == ["7 (33%)", "4 (27%)", "13 (46%)"]
    assert male[["MWoA, paper", "MWA, paper", "HC, paper"]].tolist() == ["7 (11%)", "4 (6%)", "13 (20%)"]
    assert (male["P"], male["P, paper"]) == (".39", ".40")
    assert found.loc["Age", "HC"] == "13.50 (6.75-20.25)"
    assert found.loc["Age", "P"] == "<.001"
    assert found.loc["HAMD_24", "Missing"] == "HC 1"
    assert found.loc["HAMD_24", "MWA, paper"] == "10.00 (6.00-15.00)"
    assert found.loc["14-HAMA", "P, paper"] == "<.001"
    assert found.loc["education_years", "P, paper"] == ".002"
    assert found.loc["weight", "P, paper"] == ""
    assert found.loc["Age", "Effect size"].endswith("(epsilon-squared)")
    plain = table_1(describe_cohort(table[["group", "weight"]], "group"))
    assert not any("paper" in name for name in plain.columns)


def test_the_papers_numbers_are_whole():
    assert len(TABLE_2) == 18
    # The two tables share three numbers of GoogLeNet.
    shared = TABLE_2["googlenet", "rfcs", "hc_vs_mwoa_vs_mwa"]
    assert shared == (TABLE_3["Accuracy"]["googlenet"], TABLE_3["F1"]["googlenet"])
    assert any("neither whether they are of slices or of subjects" in note for note in NOTES)


def test_problems_of_the_published_numbers():
    found = published_problems()
    googlenet = [one for one in found if one.startswith("Table 3, GoogLeNet")]
    assert sum("F1 0.9830 is impossible" in one for one in googlenet) == 2
    assert any("Recall 0.8410 is impossible beside accuracy 0.9844" in one for one in googlenet)
    assert not any("SVM, if averages are macro" in one for one in found)
    assert not any("Random forest, if averages are macro" in one for one in found)
    subjects, slices = found[-2:]
    assert "64 subjects: of 18 accuracies, 2 can be" in subjects
    assert "8 means over trials and 5 folds" in subjects
    assert "1920 slices: of 18 accuracies, 18 can be" in slices


def test_texts():
    assert percent_text(0.98706, 0.0014) == "98.71 (0.14)"
    assert percent_text(0.5, np.nan) == "50.00"
    assert percent_text(np.nan, np.nan) == ""
    assert [p_text(p) for p in (0.4, 0.0021, 0.0004, 1.0, 0.999, np.nan)] == [
        ".40",
        ".002",
        "<.001",
        "1.00",
        "1.00",
        "",
    ]
