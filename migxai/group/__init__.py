"""The group level: maps to findings."""
