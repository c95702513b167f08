"""The parts of the group level's report: what is read, judged, drawn and said.

`migxai.reports.group_report` puts them together. Each module stands for itself: `results` and `explained` read, `judging`
and `checks` decide what may be said, `curves` computes bands, `plots`, `overview`, `training` and `brains` draw, `viewer`
packs maps for the page's own script, and `sections`, `showing`, `methods` and `regions` write HTML.
"""
