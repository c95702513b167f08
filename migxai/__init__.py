"""Migraine classification from resting-state fMRI: from BIDS to indicator maps to audited, explained models."""

__version__ = "0.1.0"
