"""Models by name, and what naming them must not import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from migxai.config import Learning
from migxai.errors import UsageError
from migxai.learning.estimators import ESTIMATORS, check_models, is_deep, make_estimator, options_of, tables_of


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_every_entry_makes_an_estimator(name):
    made = make_estimator(name, Learning(), n_classes=3, seed=5)
    assert (made.level, made.n_classes, made.seed) == ("subject", 3, 5)
    assert all(hasattr(Learning(), option) for option in options_of(name))
    assert not is_deep(name)
    assert tables_of(name) == made.reads


def test_networks_fall_through():
    for name in ("googlenet", "resnet18", "vit_b_16", "timm:resnet10t"):
        assert is_deep(name)
        assert tables_of(name) == ()
        assert all(hasattr(Learning(), option) for option in options_of(name))
    assert make_estimator("resnet18", Learning(), n_classes=2, seed=0).level == "slice"


def test_names_are_checked_and_each_kept_once():
    assert check_models(["svm", "googlenet", "svm", "timm:resnet10t"]) == ("svm", "googlenet", "timm:resnet10t")
    with pytest.raises(UsageError, match=r"no model 'resnet'; there are .*googlenet, .*svm.* Did you mean resnet18\?"):
        check_models(["svm", "resnet"])
    with pytest.raises(UsageError, match="timm:NAME"):
        make_estimator("timm:", Learning(), n_classes=2, seed=0)
    with pytest.raises(UsageError, match="at least one"):
        check_models([])


def test_checking_names_imports_nothing_heavy():
    code = (
        "import sys; import migxai.learning; from migxai.learning.estimators import check_models;"
        "check_models(['svm', 'vit_b_16']);"
        "heavy = ('numpy', 'torch', 'sklearn', 'pandas', 'safetensors', 'nibabel');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
