"""``python -m migxai``."""

import sys

from migxai.cli.main import main

# Guarded, since a child process started by `spawn` imports this module again.
if __name__ == "__main__":
    sys.exit(main())
