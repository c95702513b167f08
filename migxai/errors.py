"""The errors migxai raises on purpose: each class owns its exit code.

Every message is one sentence or two: what is wrong, which file, what to do about it. Anything else that escapes
is a bug and ends with exit code 70.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_PARTIAL = 1
EXIT_USAGE = 2
EXIT_INPUT = 3
EXIT_AUDIT = 4
EXIT_RESOURCES = 5
EXIT_INTERNAL = 70
EXIT_SIGNAL = 128


class MigxaiError(Exception):
    """Base of all errors with a sentence for the user."""

    exit_code = EXIT_INTERNAL


class UsageError(MigxaiError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = EXIT_USAGE


class OutputError(UsageError):
    """The output or work directory can't be written, or another run holds it."""


class InputError(MigxaiError):
    """Nothing can be computed from the input as it is."""

    exit_code = EXIT_INPUT


class ImageError(InputError):
    """An image is corrupt, has the wrong shape, or holds no usable signal."""


class TimingError(InputError):
    """Repetition time or slice timing is absent, impossible or contradictory."""


class RegistrationError(InputError):
    """A registration did not pass its quality gate."""


class DenoisingError(InputError):
    """The nuisance model leaves too little of the series, or a tissue compartment is empty."""


class AtlasError(InputError):
    """The atlas does not fit the space or the grid of the data."""


class ResourceError(MigxaiError):
    """Memory or disk ran out, or a worker was killed."""

    exit_code = EXIT_RESOURCES


class MissingDependencyError(UsageError):
    """An optional package that this run needs is not installed."""
