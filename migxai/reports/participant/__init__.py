"""The report of each participant."""
