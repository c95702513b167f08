"""The recipes of the images and the lock they install, without building anything."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import migxai

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / ".container" / "requirements.lock"
#: In a layer of its own, chosen by arguments of the build.
TORCH = {"torch", "torchvision"}


@pytest.fixture(scope="module")
def locked() -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", LOCK.read_text(), flags=re.MULTILINE))


def test_every_line_has_hashes_and_no_host(locked):
    text = LOCK.read_text()
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert len(blocks) == len(locked) > 50
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text
    assert not [name for name in locked if re.match(r"torch(vision)?$|triton|nvidia|cuda", name)]


def test_the_lock_holds_what_the_project_needs(locked):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [Requirement(text) for text in project["dependencies"] + extras["torch"] + extras["harmonize"]]
    missing = [
        str(requirement)
        for requirement in wanted
        if requirement.name not in TORCH and not requirement.specifier.contains(locked.get(requirement.name, "0"))
    ]
    assert not missing, "run .container/lock"


def test_versions_agree():
    for recipe, pattern in (("Dockerfile", r"ARG VERSION=(\S+)"), ("Singularity.def", r"From: migxai:(\S+)")):
        assert re.search(pattern, (ROOT / recipe).read_text())[1] == migxai.__version__
    spec = re.search(r'ARG TORCH_SPEC="(.*)"', (ROOT / "Dockerfile").read_text())[1]
    pinned = {requirement.name: requirement for requirement in map(Requirement, spec.split())}
    assert set(pinned) == TORCH
    assert all(str(requirement.specifier).startswith("==") for requirement in pinned.values())
