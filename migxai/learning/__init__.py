"""The group level's numbers: slices, features, classifiers, cross-validation, scores."""

from migxai.learning.persistence import SavedModel, load_model

__all__ = ["SavedModel", "load_model"]
