"""What a subject's process does about memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

_SCRIPT = """
import ctypes, psutil
from migxai.execution.worker import keep_freed_memory

def used():
    return psutil.Process().memory_info().rss / 2**20

give_back = keep_freed_memory()
before = used()
block = ctypes.create_string_buffer(b"x" * (100 * 2**20))
del block
kept = used() - before
give_back()
print(kept, used() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own")
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
    kept, given_back = (float(number) for number in done.stdout.split())
    assert kept > 90
    assert given_back < 10
