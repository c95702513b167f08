"""The participant level: a dataset to maps."""
