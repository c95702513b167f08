"""The group level's report: a module for each section, and those that draw its figures.

`report` puts the sections together, in the order of the page: its own summary, `people`, `results`, `maps`, and its own
methods. Each gathers typed data for its template in ``templates/group``; `gallery` keeps the figures.
"""
