"""What a person reads: the figures, the report of each participant, the group level's report, and the methods texts.

Figures are deterministic SVG files, drawn from arrays. Pages are written by jinja from the templates beside this
module: Python gathers typed data, and whatever is HTML, style or script is in `templates`.
"""
