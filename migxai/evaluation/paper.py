"""The tables of the paper that migxai follows, and ours laid out beside them.

The paper: Li, Yang, He & Zeng, JMIR Med Inform 2025;13:e72155, doi:10.2196/72155 (CC BY 4.0). It does not say whether
its scores are of slices or of subjects, nor how precision, recall and F1 are averaged over classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from migxai.evaluation.cohort_statistics import Variable
from migxai.indicators.registry import INDICATORS
from migxai.learning.estimators import model_titles
from migxai.metrics.consistency import accuracy_reachable, check_scores

if TYPE_CHECKING:
    import pandas as pd

HC_MIGRAINE, THREE_CLASSES = "hc_vs_migraine", "hc_vs_mwoa_vs_mwa"

COMPARISON_NAMES = {
    HC_MIGRAINE: "HC versus migraine",
    THREE_CLASSES: "HC versus MWoA versus MWA",
    "mwoa_vs_mwa": "MWoA versus MWA",
}

#: People by group.
GROUPS = {"HC": 28, "MWoA": 21, "MWA": 15}

#: Table 1: median (IQR) or n (% of all 64), and the P value. The paper's note says Kruskal-Wallis for all of them.
TABLE_1: Mapping[str, Mapping[str, str]] = {
    "Sex: male": {"MWoA": "7 (11%)", "MWA": "4 (6%)", "HC": "13 (20%)", "P": ".40"},
    "Sex: female": {"MWoA": "14 (22%)", "MWA": "11 (17%)", "HC": "15 (24%)", "P": ".40"},
    "Age": {"MWoA": "29.00 (26.00-31.00)", "MWA": "29.00 (27.00-35.00)", "HC": "29.00 (27.00-34.25)", "P": ".47"},
    "Education": {
        "MWoA": "19.00 (16.00-19.00)",
        "MWA": "16.00 (15.00-16.00)",
        "HC": "16.00 (16.00-19.00)",
        "P": ".002",
    },
    "HAMD-24": {"MWoA": "4.00 (1.00-9.00)", "MWA": "10.00 (6.00-15.00)", "HC": "1.00 (0.00-3.00)", "P": "<.001"},
    "HAMA-14": {"MWoA": "3.00 (1.00-6.00)", "MWA": "6.00 (5.00-9.50)", "HC": "0.00 (0.00-3.00)", "P": "<.001"},
}

#: Table 2, as printed: accuracy and F1, each in %, mean (SD), by model, indicator and comparison.
TABLE_2: Mapping[tuple[str, str, str], tuple[str, str]] = {
    ("resnet18", "alff", HC_MIGRAINE): ("87.20 (0.64)", "87.13 (0.62)"),
    ("resnet18", "alff", THREE_CLASSES): ("86.83 (1.84)", "86.70 (1.85)"),
    ("resnet18", "reho", HC_MIGRAINE): ("92.56 (0.94)", "92.50 (0.90)"),
    ("resnet18", "reho", THREE_CLASSES): ("91.07 (0.37)", "90.95 (0.35)"),
    ("resnet18", "rfcs", HC_MIGRAINE): ("97.81 (0.39)", "97.7 (0.40)"),
    ("resnet18", "rfcs", THREE_CLASSES): ("96.75 (1.93)", "96.55 (1.95)"),
    ("googlenet", "alff", HC_MIGRAINE): ("90.69 (1.12)", "90.50 (1.10)"),
    ("googlenet", "alff", THREE_CLASSES): ("89.95 (0.65)", "89.8 (0.65)"),
    ("googlenet", "reho", HC_MIGRAINE): ("94.79 (1.29)", "94.6 (1.30)"),
    ("googlenet", "reho", THREE_CLASSES): ("93.52 (0.51)", "93.4 (0.50)"),
    ("googlenet", "rfcs", HC_MIGRAINE): ("98.71 (0.14)", "98.65 (0.15)"),
    ("googlenet", "rfcs", THREE_CLASSES): ("98.44 (0.29)", "98.3 (0.30)"),
    ("vit_b_16", "alff", HC_MIGRAINE): ("84.58 (1.83)", "84.03 (0.67)"),
    ("vit_b_16", "alff", THREE_CLASSES): ("84.51 (0.56)", "83.95 (0.60)"),
    ("vit_b_16", "reho", HC_MIGRAINE): ("87.78 (0.61)", "87.3 (0.65)"),
    ("vit_b_16", "reho", THREE_CLASSES): ("86.7 (1.27)", "86.1 (1.30)"),
    ("vit_b_16", "rfcs", HC_MIGRAINE): ("93.04 (0.50)", "92.8 (0.50)"),
    ("vit_b_16", "rfcs", THREE_CLASSES): ("92.93 (1.25)", "92.6 (1.30)"),
}

#: Table 3, as printed: three classes on RFCS, in %, mean (SD), by score and model.
TABLE_3: Mapping[str, Mapping[str, str]] = {
    "Accuracy": {"svm": "50.71 (1.65)", "rf": "53.45 (1.12)", "googlenet": "98.44 (0.29)"},
    "Precision": {"svm": "47.7 (2.08)", "rf": "60.48 (2.96)", "googlenet": "86.44 (0.26)"},
    "Recall": {"svm": "46.74 (1.89)", "rf": "45.27 (1.19)", "googlenet": "84.1 (0.32)"},
    "F1": {"svm": "46.91 (2.00)", "rf": "44.08 (1.50)", "googlenet": "98.3 (0.30)"},
    "AUC": {"svm": "66.29 (1.47)", "rf": "66.9 (0.57)", "googlenet": "98.63 (0.19)"},
}

#: Our scores in the rows of Table 3; the area has one name for two classes and another for more.
TABLE_3_METRICS = {
    "Accuracy": ("accuracy",),
    "Precision": ("precision_macro",),
    "Recall": ("recall_macro",),
    "F1": ("f1_macro",),
    "AUC": ("roc_auc", "roc_auc_ovr_macro"),
}

NOTES = (
    "Ours: mean (SD) over trials, in %, of scores on the pooled out-of-fold predictions of each trial; precision, "
    "recall and F1 are unweighted means over classes, AUC of three classes that of each against the rest.",
    "The paper: values as printed. It says neither whether they are of slices or of subjects nor how they are averaged "
    "over classes.",
)


def table_2(table: pd.DataFrame) -> pd.DataFrame:
    """Lay out `migxai.evaluation.scoring.Scores.table` as the paper's Table 2, its values beside ours.

    There is a row for each model, indicator and comparison of ours, those of the paper first and in its order; cells
    are text such as ``98.71 (0.14)``, empty where there is no value.
    """
    import pandas as pd

    found = _texts(table)
    rows = []
    for model, indicator, comparison in _ordered(table):
        published = TABLE_2.get((model, indicator, comparison), ("", ""))
        row = {
            "Model": model_titles().get(model, model),
            "Indicator": INDICATORS.title(indicator),
            "Comparison": COMPARISON_NAMES.get(comparison, comparison),
        }
        for title, metric, paper in (("Accuracy", "accuracy", published[0]), ("F1", "f1_macro", published[1])):
            for level in ("subject", "slice"):
                row[f"{title} (%), {level}s"] = found.get((model, indicator, comparison, level, metric), "")
            row[f"{title} (%), paper"] = paper
        rows.append(row)
    return pd.DataFrame(rows)


def table_3(table: pd.DataFrame, *, comparison: str = THREE_CLASSES, indicator: str = "rfcs") -> pd.DataFrame:
    """Lay out the scores of one comparison and indicator as the paper's Table 3, its values beside ours.

    There is a row for each score; for each model a column for subjects, one for slices if it predicts any, and one for
    the paper if it has the model (it has three classes on RFCS alone). No row if we have no such comparison.
    """
    import pandas as pd

    chosen = table[(table["comparison"] == comparison) & (table["indicator"] == indicator)]
    if chosen.empty:
        return pd.DataFrame(columns=["Score (%)"])
    found = _texts(chosen)
    columns: dict[str, list[str]] = {"Score (%)": list(TABLE_3_METRICS)}
    for model, *_ in _ordered(chosen):
        name = model_titles().get(model, model)
        for level in ("subject", "slice"):
            texts = [
                next(filter(None, (found.get((model, indicator, comparison, level, one), "") for one in metrics)), "")
                for metrics in TABLE_3_METRICS.values()
            ]
            if level == "subject" or any(texts):
                columns[f"{name}, {level}s"] = texts
        if (comparison, indicator) == (THREE_CLASSES, "rfcs") and model in TABLE_3["Accuracy"]:
            columns[f"{name}, paper"] = [TABLE_3[score][model] for score in TABLE_3_METRICS]
    return pd.DataFrame(columns)


def table_1(cohort: Sequence[Variable]) -> pd.DataFrame:
    """Lay out a cohort's statistics (of `describe_cohort`) as the paper's Table 1, its values beside ours.

    There is a row for each number, and for each level of a category; percentages are of the group's known values (the
    paper's are of all people). The paper's columns are there if it has any of the variables.
    """
    import pandas as pd

    rows = []
    for one in cohort:
        for level in list(one.counts) or [""]:
            row = {"Variable": f"{one.name}: {level}" if level else one.name}
            for group, n in one.n.items():
                row[group] = _counted(one.counts[level][group], n) if level else _median(one.quartiles.get(group))
            row |= {
                "Missing": ", ".join(f"{group} {n}" for group, n in one.missing.items() if n),
                "P": p_text(one.test.p),
                "P, Holm": p_text(one.p_adjusted),
                "Test": one.test.name,
                "Effect size": f"{one.test.effect:.3f} ({one.test.effect_name})" if one.test.effect_name else "",
                "Note": one.test.note,
            }
            published = TABLE_1.get(_published_name(one.name, level), {})
            row |= {f"{group}, paper": published.get(group, "") for group in (*GROUPS, "P")}
            rows.append(row)
    table = pd.DataFrame(rows)
    if not any(_published_name(one.name, level) in TABLE_1 for one in cohort for level in list(one.counts) or [""]):
        table = table.drop(columns=[f"{group}, paper" for group in (*GROUPS, "P")], errors="ignore")
    return table


def published_problems() -> list[str]:
    """Say which of the paper's own numbers cannot belong to the same predictions, and at which level they can be.

    Each of Table 3's models is tried with macro and with weighted averages. Each accuracy of Table 2 is tried as the
    mean over 4 trials of 64 subjects, or of their 1920 slices, both pooled and as the mean over 5 folds of 12 or 13
    subjects. A whole last digit either way is allowed, since the trials' own values may have been rounded too.
    """
    problems = []
    for model in TABLE_3["Accuracy"]:
        values = {score: _printed(by_model[model]) for score, by_model in TABLE_3.items()}
        scores = {"accuracy": values["Accuracy"][0], "roc_auc_ovr_macro": values["AUC"][0]}
        tolerance = max(digit for _, digit in values.values())
        for average in ("macro", "weighted"):
            averaged = {f"{name.lower()}_{average}": values[name][0] for name in ("Precision", "Recall", "F1")}
            for problem in check_scores(scores | averaged, shares=list(GROUPS.values()), tolerance=tolerance):
                problems.append(f"Table 3, {model_titles()[model]}, if averages are {average}: {problem}")
    accuracies = [_printed(accuracy) for accuracy, _ in TABLE_2.values()]
    for unit, factor in (("subjects", 1), ("slices", 30)):
        counts = [
            sum(accuracy_reachable(value, digit, [factor * n for n in sizes], trials=4) for value, digit in accuracies)
            for sizes in ([64], [13, 13, 13, 13, 12])
        ]
        problems.append(
            f"Table 2, if of {64 * factor} {unit}: of {len(accuracies)} accuracies, {counts[0]} can be means over 4 "
            f"trials of pooled predictions and {counts[1]} means over trials and 5 folds of 12 or 13 subjects."
        )
    return problems


def percent_text(mean: float, sd: float) -> str:
    """Write a share as ``98.71 (0.14)``, in %; without brackets where there is no SD, empty where there is no mean."""
    if not np.isfinite(mean):
        return ""
    return f"{100 * mean:.2f} ({100 * sd:.2f})" if np.isfinite(sd) else f"{100 * mean:.2f}"


def p_text(p: float) -> str:
    """Write a p value in the paper's way: ``.40``, ``.002``, ``<.001``; empty where there is none."""
    if not np.isfinite(p):
        return ""
    if p < 0.001:
        return "<.001"
    text = f"{p:.3f}" if p < 0.01 else f"{p:.2f}"
    return text.removeprefix("0") if p < 1 else text


def _texts(table: pd.DataFrame) -> dict[tuple[str, str, str, str, str], str]:
    keys = table[["model", "indicator", "comparison", "level", "metric"]].itertuples(index=False, name=None)
    texts = [percent_text(mean, sd) for mean, sd in zip(table["value"], table["sd"], strict=True)]
    return dict(zip(keys, texts, strict=True))


def _ordered(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return models, indicators and comparisons there are, the paper's first and in its order."""
    rows = table[["model", "indicator", "comparison"]].drop_duplicates().itertuples(index=False, name=None)
    orders = {row: paper_order(row[2], row[1], row[0])[::-1] for row in rows}
    return sorted(orders, key=lambda row: orders[row])


def paper_order(comparison: str, indicator: str, model: str) -> list[tuple[int, str]]:
    """Return a key that sorts comparisons, then indicators, then models: known ones first and in their order."""
    # The paper lists its networks in another order than options do.
    models = dict.fromkeys([*(model for model, *_ in TABLE_2), *model_titles()])
    known = [list(names) for names in (COMPARISON_NAMES, INDICATORS, models)]
    names = (comparison, indicator, model)
    return [
        (order.index(name) if name in order else len(order), name) for order, name in zip(known, names, strict=True)
    ]


def _printed(text: str) -> tuple[float, float]:
    """Return the mean of a printed percentage as a share, and the size of its last digit."""
    mean = text.split()[0]
    return float(mean) / 100, 10.0 ** -(len(mean.partition(".")[2]) + 2)


def _published_name(name: str, level: str) -> str:
    """Return the row of Table 1 that a column is likely to be, or nothing."""
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    if plain in ("sex", "gender"):
        full = {"m": "male", "f": "female"}.get(level.lower(), level.lower())
        return f"Sex: {full}"
    for start, row in (("hamd", "HAMD-24"), ("24hamd", "HAMD-24"), ("hama", "HAMA-14"), ("14hama", "HAMA-14")):
        if plain.startswith(start):
            return row
    return {"age": "Age"}.get(plain, "Education" if plain.startswith("edu") else "")


def _counted(count: int, n: int) -> str:
    return f"{count} ({100 * count / n:.0f}%)" if n else ""


def _median(quartiles: tuple[float, float, float] | None) -> str:
    if quartiles is None or not np.isfinite(quartiles[1]):
        return ""
    low, middle, high = quartiles
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"
