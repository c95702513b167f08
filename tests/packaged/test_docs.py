from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = re.findall(
    r"^\| [\w ]+ \| `(\S+)` \| `(\S+)` \| `(\S+)` \| `(\S+)` \|$", (ROOT / "docs/extending.md").read_text(), re.M
)


def test_the_list_of_entries_is_what_the_registries_hold():
    subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], check=True)


def test_every_kind_of_entry_is_documented():
    from migxai.cli.options import REGISTRIES

    assert {group for group, *_ in ROWS} == {registry.group for registry in REGISTRIES}


@pytest.mark.parametrize(("group", "entry", "package", "example"), ROWS)
def test_what_the_page_on_extending_names_is_there(group, entry, package, example):
    module, _, name = entry.rpartition(".")
    assert isinstance(getattr(import_module(module), name), type)
    assert (ROOT / package).is_dir()
    assert re.search(rf"^from {re.escape(module)} import .*\b{name}\b", (ROOT / example).read_text(), re.MULTILINE)
