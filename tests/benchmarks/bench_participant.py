"""Run the participant level on a dataset and print wall time, peak memory and, for a demo, its errors.

    python tests/benchmarks/bench_participant.py BIDS_DIR [--truth DIR] [-- options of migxai]

Peak memory is the largest sum of resident memory over migxai and all processes it has started, sampled ten times a
second. With ``--truth`` (a demo's ``truth`` folder) each subject's realignment and registration are scored.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.e2e.scoring import score


def measure(command: list[str]) -> tuple[int, float, float]:
    """Return exit code, seconds, and peak memory in GB."""
    begun, peak = time.monotonic(), 0.0
    with subprocess.Popen(command) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            total = 0
            try:
                for member in [watched, *watched.children(recursive=True)]:
                    total += member.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            peak = max(peak, total / 1e9)
            time.sleep(0.1)
    return process.returncode, time.monotonic() - begun, peak


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("--truth", type=Path)
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    options, more = parser.parse_args(given[:cut]), given[cut + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out"
        command = [sys.executable, "-m", "migxai", str(options.bids_dir), str(output), "participant", *more]
        code, seconds, peak = measure(command)
        print(f"exit code {code}, {seconds:.0f} s, peak memory {peak:.2f} GB")
        if options.truth is not None:
            for truth in sorted(options.truth.glob("sub-*")):
                if (output / f"{truth.name}.html").exists():
                    errors = score(output, options.truth, truth.name)
                    print(truth.name, ", ".join(f"{name} {value:.3f} mm" for name, value in errors.items()))
    return code


if __name__ == "__main__":
    raise SystemExit(main())
