"""The indicators that migxai makes of a run: one entry in a file each, and their registry.

An entry says everything that is particular to its indicator: its name, the series it reads, its options, its sidecar
fields, its sentence in the methods text. Entries import nothing heavy, since ``--help`` lists them: the arithmetic is
in `migxai.signal` (`alff`, `falff`, `reho`, `rfcs`, for scripts too) and is loaded when an indicator is computed.
"""
