"""How much faster 8 demo subjects are with 2 subjects at once than with 1: ``python bench_scaling.py DIR [N]``.

Each subject gets one thread both times, so that nothing but their number side by side differs. What else the machine
does meanwhile spoils the figure: the load before and after is printed beside it, and CPU time, which others inflate
less. Work that takes no more of it with two slots, and hardly waits, is what makes a speed-up of 2 possible.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from migxai.demo.image_cohort import make_cohort
from migxai.demo.settings import SMALL

GB_A_SUBJECT = 3.0


def run(root: Path, slots: int) -> dict[str, float]:
    """Process the cohort with so many slots; returns wall time and load averages."""
    output = root / f"out{slots}"
    shutil.rmtree(output, ignore_errors=True)
    before, begun, spent = os.getloadavg()[0], time.perf_counter(), cpu_seconds()
    subprocess.run(
        [
            sys.executable, "-m", "migxai", str(root / "raw"), str(output), "participant", "--nprocs", str(slots),
            "--omp-nthreads", "1", "--mem-gb", str(slots * GB_A_SUBJECT),
        ],
        check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    used = cpu_seconds() - spent
    return {
        "slots": slots, "seconds": seconds, "cpu_seconds": used, "load_before": before,
        "load_after": os.getloadavg()[0],
    }  # fmt: skip


def cpu_seconds() -> float:
    """Return the CPU time of the processes that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Make the cohort, run it twice, and print both times and their ratio."""
    root, subjects = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 8
    for _ in make_cohort(root, SMALL, subjects):
        pass
    one, two = run(root, 1), run(root, 2)
    for result in (one, two):
        print(json.dumps({key: round(value, 2) for key, value in result.items()}))
    faster = one["seconds"] / two["seconds"]
    print(f"{subjects} subjects: {one['seconds']:.0f} s, {two['seconds']:.0f} s, speed-up {faster:.2f}")


if __name__ == "__main__":
    main()
