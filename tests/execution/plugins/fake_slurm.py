"""A cluster of one machine that is no cluster: sbatch, squeue, scancel and scontrol as one small program.

Jobs run at once. One whose script's name holds ``killme`` is killed, as one that is out of memory would be.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

# Imported by whoever looks for doctests, it does nothing.
state = Path(os.environ.get("FAKE_SLURM", ""))
program, arguments = Path(sys.argv[0]).name, sys.argv[1:]


def jobs():
    return {int(file.stem): json.loads(file.read_text()) for file in state.glob("*.json")}


def runs(job):
    try:
        return Path(f"/proc/{job['pid']}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


if program == "sbatch":
    if "--partition=nowhere" in arguments:
        sys.exit("sbatch: error: invalid partition specified: nowhere")
    number = 1 + len(jobs())
    script = arguments[-1]
    command = ["sleep", "0.2"] if "killme" in script else ["bash", script]
    with (state / f"{number}.out").open("w") as out:
        pid = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True).pid
    whole = state / f"{number}.part"
    whole.write_text(json.dumps({"pid": pid, "script": script, "arguments": arguments}))
    whole.rename(state / f"{number}.json")
    print(f"{number};cluster")
elif program == "squeue":
    for number, job in jobs().items():
        if runs(job):
            print(number, job["script"])
elif program == "scancel":
    for number in map(int, arguments):
        os.killpg(jobs()[number]["pid"], signal.SIGKILL)
        (state / f"{number}.cancelled").touch()
elif program == "scontrol":
    number = arguments[-1]
    if int(number.split("_")[0]) not in jobs():
        sys.exit("slurm_load_jobs error: Invalid job id specified")
    name = "CANCELLED" if (state / f"{number}.cancelled").exists() else "OUT_OF_MEMORY"
    print(f"JobId={number} JobName=x UserId=me(1) JobState={name} Reason=None ExitCode=0:9")
