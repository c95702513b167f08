"""The group level's report: what is read, judged, drawn and said.

`write_report` puts the parts together. `results` and `explained` read, `judging` and `checks` decide what may be said,
`curves` computes bands, `plots`, `overview` and `brains` draw, `viewer` packs maps for the page's own script, and
`summary`, `outcome`, `showing`, `regions` and `methods` write HTML.
"""

from migxai.reports.group.report import read_checks, write_report

__all__ = ["read_checks", "write_report"]
