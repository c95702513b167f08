"""Carry out work in other processes: children, locks, resources, progress, signals."""
