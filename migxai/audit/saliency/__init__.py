"""Whether a map means anything: checks that maps must pass before anybody reads a brain out of them."""

from migxai.audit.saliency.battery import CHECKS, run_battery, trusted
from migxai.audit.saliency.case import Case, Check, Truth

__all__ = ["CHECKS", "Case", "Check", "Truth", "run_battery", "trusted"]
