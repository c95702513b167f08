from pathlib import Path

import pytest
from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, TraitedSpec, traits
from nipype.pipeline import engine as pe

from migxai import errors
from migxai.errors import UsageError
from migxai.execution.plugins.engine import error_from_traceback, execute, read_plugin


class _In(BaseInterfaceInputSpec):
    label = traits.Str()
    fail = traits.Bool()


class _Out(TraitedSpec):
    written = traits.List(traits.Str())


class Write(SimpleInterface):
    input_spec = _In
    output_spec = _Out

    def _run_interface(self, runtime):
        if self.inputs.fail:
            raise errors.ImageError("sub-02_bold.nii.gz is cut short and cannot be read;\ncopy it again.")
        self._results["written"] = [f"sub-{self.inputs.label}/file"]
        return runtime


def workflow(folder: Path, fails: dict[str, bool]) -> pe.Workflow:
    whole = pe.Workflow(name="migxai_wf", base_dir=str(folder))
    for label, fail in fails.items():
        part = pe.Workflow(name=f"sub_{label}_wf")
        part.add_nodes([pe.Node(Write(label=label, fail=fail), name="write")])
        whole.add_nodes([part])
    return whole


def test_all_that_was_written_is_known_by_subject(tmp_path):
    done = execute(workflow(tmp_path, {"01": False, "02": False}))
    assert done.crashes == []
    assert done.written("01") == ["sub-01/file"]
    assert done.written("02") == ["sub-02/file"]


def test_one_failure_is_a_sentence_and_stops_nobody_else(tmp_path):
    steps = []
    done = execute(workflow(tmp_path, {"01": False, "02": True, "03": False}), report=lambda *news: steps.append(news))
    (crash,) = done.crashes
    assert (crash.subject, type(crash.error)) == ("02", errors.ImageError)
    assert str(crash.error) == "sub-02_bold.nii.gz is cut short and cannot be read; copy it again."
    assert ("migxai_wf.sub_03_wf.write", "end") in steps
    again = execute(workflow(tmp_path, {"01": False, "02": False, "03": False}))
    assert again.crashes == [], "crashes of an earlier run are not this run's"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Traceback\nMemoryError: Unable to allocate 3 GiB", errors.ResourceError),
        ("Traceback\nOSError: [Errno 28] No space left on device", errors.ResourceError),
        ("Traceback\nZeroDivisionError: division by zero", errors.MigxaiError),
        ("Traceback\nmigxai.errors.TimingError: TR is absent.", errors.TimingError),
    ],
)
def test_other_tracebacks_keep_their_meaning(text, kind):
    assert type(error_from_traceback(text, "node")) is kind


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
