"""Scores of predictions, pure: numbers, intervals, consistency."""
