"""Classifiers of subjects, behind one protocol and one registry."""

from migxai.learning.estimators.base import Estimator
from migxai.learning.estimators.registry import ESTIMATORS, check_models, is_deep, make_estimator

__all__ = ["ESTIMATORS", "Estimator", "check_models", "is_deep", "make_estimator"]
