"""Stand-ins for the participant workflow, called in real child processes by the tests of the command line.

What a subject does is in its label: sub-kill1 kills itself, sub-ok2 succeeds, and so on.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from migxai.errors import ImageError


def run_subject(config, subject, report):
    report("first step")
    config.run.work_dir.mkdir(parents=True, exist_ok=True)
    (config.run.work_dir / "intermediate").touch()
    logging.getLogger("migxai.fake").warning("a warning from below")
    print("chatter of a library")
    out = Path(config.run.output_dir)
    (out / f"sub-{subject}.ran").write_text(
        f"{config.run.nprocs} {os.environ['OMP_NUM_THREADS']} {os.environ['NO_ET']}"
    )
    if subject.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if subject.startswith("segv"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if subject.startswith("exit"):
        os._exit(9)
    if subject.startswith("bad"):
        raise ImageError("sub-bad_bold.nii.gz is cut short; copy it again.")
    if subject.startswith("bug"):
        raise ValueError("something nobody thought of")
    if subject.startswith("mem"):
        raise MemoryError
    if subject.startswith("disk"):
        raise OSError(errno.ENOSPC, "No space left on device")
    if subject.startswith("hang"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (out / f"sub-{subject}.pids").write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)
    if subject.startswith("linger"):
        threading.Thread(target=time.sleep, args=(600,)).start()
    if subject.startswith("big"):
        block = bytearray(200_000_000)
        block[::4096] = b"1" * len(block[::4096])
        time.sleep(1.2)


report_subject = run_subject


def run_with_plugin(config, subjects, plugin):
    assert plugin == {"plugin": "Linear", "plugin_args": {}}
    if "hang1" in subjects:
        run_subject(config, "hang1", print)
    return {subject: ImageError("cut short.") for subject in subjects if subject.startswith("bad")}


def write_boilerplate(config):
    (config.run.output_dir / "logs").mkdir(exist_ok=True)
    (config.run.output_dir / "logs" / "CITATION.md").write_text("We did.")


if __name__ in ("__main__", "__mp_main__"):
    # Here and in each child, which imports this file first, it stands in for the module that does the work.
    sys.modules["migxai.participant.run"] = sys.modules[__name__]
    import migxai.participant

    migxai.participant.run = sys.modules[__name__]

if __name__ == "__main__":
    from migxai.cli.main import main

    sys.exit(main())
