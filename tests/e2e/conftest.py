"""One small demo cohort, processed once through the command line, with no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

#: Python imports this at start, in the run and in all its children: any connection beyond the machine fails.
BLOCK = """
import socket
_connect = socket.socket.connect
def connect(self, address):
    if self.family != socket.AF_UNIX:
        raise OSError(f"the network is blocked, and something asked for {address}")
    return _connect(self, address)
socket.socket.connect = connect
socket.socket.connect_ex = connect
"""


@dataclass(frozen=True)
class Finished:
    raw: Path
    truth: Path
    output: Path
    code: int
    text: str


def environment(folder: Path) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(BLOCK)
    known = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *([known] if known else [])])}


def run(*arguments: object, env: dict[str, str], timeout: float = 800) -> tuple[int, str]:
    command = [sys.executable, "-m", "migxai", *map(str, arguments)]
    done = subprocess.run(
        command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False
    )
    return done.returncode, done.stdout


@pytest.fixture(scope="session")
def no_network(tmp_path_factory) -> dict[str, str]:
    return environment(tmp_path_factory.mktemp("blocked"))


@pytest.fixture(scope="session")
def cohort(tmp_path_factory, no_network) -> Finished:
    """Two good subjects and one whose BOLD file is a valid gzip cut short."""
    pytest.importorskip("deepbet", reason="brain extraction needs migxai[torch]")
    root = tmp_path_factory.mktemp("cohort")
    demo = "from migxai.demo import main; raise SystemExit(main())"
    arguments = [str(root), "--small", "--subjects", "2", "--seed", "20261", "--data-only"]
    subprocess.run([sys.executable, "-c", demo, *arguments], env=no_network, check=True)
    raw = root / "raw"
    shutil.copytree(raw / "sub-02", raw / "sub-03")
    for path in list((raw / "sub-03").rglob("sub-02*")):
        path.rename(path.with_name(path.name.replace("sub-02", "sub-03")))
    broken = raw / "sub-03" / "func" / "sub-03_task-rest_bold.nii.gz"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    table = raw / "participants.tsv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, lines[-1].replace("sub-02", "sub-03")]) + "\n")
    output = root / "derivatives"
    code, text = run(raw, output, "participant", "--forms", "raw", "zscore", env=no_network)
    return Finished(raw, root / "truth", output, code, text)
