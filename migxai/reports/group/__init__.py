"""The group level's report: a module for each section, and those that draw its figures.

`report` sums up and puts the sections together, in the order of the page: `people`, `results`, `maps`, `methods`. Each
gathers typed data for its template in ``templates/group``; `gallery` keeps the figures.
"""
