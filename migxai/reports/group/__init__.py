"""The group level's report: a module for each section, and those that draw its figures.

`report` puts the sections together, in the order of the page: `summary`, `people`, `results`, `maps`, `methods`. Each
gathers typed data for its template in ``templates/group``; `gallery` keeps the figures.
"""
