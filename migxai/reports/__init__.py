"""What a person reads: the figures, the report of each participant, and the methods paragraph.

Figures are deterministic SVG files, drawn from arrays; `write_participant_report` gathers those of one subject and
the JSON summaries of its runs into one HTML file that needs nothing else to be read.
"""

from migxai.reports.participant.methods import Facts, methods_html, methods_markdown
from migxai.reports.participant.page import write_participant_report
from migxai.reports.participant.summary import Quality, Region, RunSummary, Step, read_summary, write_summary

__all__ = [
    "Facts",
    "Quality",
    "Region",
    "RunSummary",
    "Step",
    "methods_html",
    "methods_markdown",
    "read_summary",
    "write_participant_report",
    "write_summary",
]
