from __future__ import annotations

import pytest

from migxai.errors import UsageError
from migxai.execution.plugins.named import read_plugin


def test_plugin_files(tmp_path):
    file = tmp_path / "plugin.yml"
    file.write_text("plugin: SLURM\nplugin_args: {sbatch_args: '--mem=8G'}\n")
    assert read_plugin(file) == {"plugin": "SLURM", "plugin_args": {"sbatch_args": "--mem=8G"}}
    file.write_text("plugin: Linear\n")
    assert read_plugin(file) == {"plugin": "Linear", "plugin_args": {}}


def test_the_packaged_plugin_has_a_name():
    assert read_plugin("slurm") == {"plugin": "SLURM", "plugin_args": {}}


@pytest.mark.parametrize(
    "text", ["plugin: [", "- a", "", "plugin_args: {}", "plugin: Linear\nextra: 1", "plugin: Linear\nplugin_args: 3"]
)
def test_malformed_plugin_files(tmp_path, text):
    file = tmp_path / "plugin.yml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"plugin\.yml"):
        read_plugin(file)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("Slrum", "no plugin 'Slrum'.* it has .*SLURM"), ("SLURMGraph", "returns as soon as .*; use SLURM")],
)
def test_plugins_that_do_not_exist_or_do_not_wait(tmp_path, name, sentence):
    file = tmp_path / "plugin.yml"
    file.write_text(f"plugin: {name}\n")
    with pytest.raises(UsageError, match=sentence):
        read_plugin(file)
