"""Carry out work in other processes: children, locks, workflows and their plugins, progress, signals."""
