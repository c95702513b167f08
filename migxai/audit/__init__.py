"""Whether a result means anything: checks that it must pass before anybody reads a brain out of it."""

from migxai.audit.checks import CHECKS, Check, CheckEntry

__all__ = ["CHECKS", "Check", "CheckEntry"]
