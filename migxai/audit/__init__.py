"""Whether a result means anything: checks that it must pass before anybody reads a brain out of it."""

from migxai.audit.case import Case, Check, Truth
from migxai.audit.runner import CHECKS, run_battery, trusted

__all__ = ["CHECKS", "Case", "Check", "Truth", "run_battery", "trusted"]
