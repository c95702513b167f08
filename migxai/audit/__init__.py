"""Tests of what a score is worth."""
