"""nipype plugins that a user names (``--use-plugin``): by a file, or by the name of a packaged one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from migxai.errors import UsageError

#: Plugins that return before the work is done, of which nobody then would hear.
_NO_ANSWER = ("SLURMGraph", "SGEGraph", "PBSGraph", "CondorDAGMan", "SOMA")
_FORM = "it needs 'plugin: NAME' and, where there are any, 'plugin_args:' with names and values"


def read_plugin(setting: Path | str) -> dict[str, Any]:
    """Read which nipype plugin is to run the steps.

    Parameters
    ----------
    setting
        ``"slurm"``, or a nipype plugin file (YAML).

    Returns
    -------
    dict
        ``plugin`` (str) and ``plugin_args`` (dict, maybe empty).

    Raises
    ------
    UsageError
        If the file is no YAML or not of that form, or nipype has no such plugin.
    """
    if not isinstance(setting, Path):
        return {"plugin": "SLURM", "plugin_args": {}}
    content = _load(setting)
    if not isinstance(content, dict) or not isinstance(content.get("plugin"), str):
        raise UsageError(f"The plugin file {setting} names no plugin; {_FORM}.")
    arguments = content.get("plugin_args") or {}
    unknown = sorted(set(map(str, content)) - {"plugin", "plugin_args"})
    if unknown or not isinstance(arguments, dict):
        what = ", ".join(unknown) or "plugin_args"
        raise UsageError(f"The plugin file {setting} has unknown content ({what}); {_FORM}.")
    _check_name(content["plugin"], setting)
    return {"plugin": content["plugin"], "plugin_args": arguments}


def _load(file: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UsageError(f"The plugin file {file} is not valid YAML: {' '.join(str(error).split())}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The plugin file {file} can't be read: {error}.") from error


def _check_name(name: str, file: Path) -> None:
    from nipype.pipeline import plugins

    known = sorted(item.removesuffix("Plugin") for item in dir(plugins) if item.endswith("Plugin"))
    usable = [item for item in known if item not in _NO_ANSWER]
    if name in _NO_ANSWER:
        raise UsageError(
            f"The plugin {name} of {file} returns as soon as its jobs are submitted, so nobody would gather what they "
            f"did; use {name.removesuffix('Graph') if name.endswith('Graph') else 'another'}."
        )
    if name not in known:
        raise UsageError(f"nipype has no plugin {name!r} (in {file}); it has {', '.join(usable)}.")
