"""Migraine classification from resting-state fMRI: from BIDS to indicator maps to audited, explained models."""

__version__ = "0.2.0.dev0"
