"""How large the package is, and how much of it a run enters: ``python measure_house.py TREE [--runs DIR]``.

TREE is a checkout that holds ``migxai``. Printed are:

- files, lines (code, docstring, comment, blank) and functions (number, median, 95th percentile and longest, in lines);
- files that the band edges pass through. A file counts if its code holds the word ``band``, or both ``low`` and
  ``high``, as an attribute, a keyword or a string of its own; where they are plain arguments (`PLAIN`), also as a name.
  Texts don't count, nor do rooms where these words mean something else (`ELSEWHERE`: intervals of scores);
- with ``--runs``: files and functions of migxai that a participant run (one demo subject) enters, and those that a
  group run (16 demo maps, SVM and ResNet18) enters before it writes its report. A function counts once it has been
  called, in the process of the command line or in any that it starts; importing a module is not entering it. DIR takes
  the datasets and outputs; two trees may share it.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

#: Parts of paths below ``migxai`` where low and high are no band edges.
ELSEWHERE = (
    "learning", "metrics", "evaluation", "audit", "explain", "cohort", "group", "groups", "workflows", "demo",
    "registration", "data",
)  # fmt: skip
#: Where edges are arguments of their own.
PLAIN = ("signal", "indicators", "config.py")
#: Imported by every Python process of a run: notes each function of the package when it is first called.
HOOK = """
import os, sys, threading, time
_seen, _package, _notes = set(), os.environ["HOUSE_PACKAGE"], os.environ["HOUSE_NOTES"]
def _trace(frame, event, argument):
    code = frame.f_code
    if code not in _seen and code.co_filename.startswith(_package):
        _seen.add(code)
        if code.co_flags & 1 and not code.co_name.startswith("<"):
            with open(os.path.join(_notes, str(os.getpid())), "a") as stream:
                stream.write(f"{time.time():.6f}\\t{code.co_filename[len(_package):]}\\t{code.co_name}\\n")
sys.settrace(_trace)
threading.settrace(_trace)
"""
MAPS = (
    "from migxai.demo.map_cohort import make_map_cohort; import pathlib, sys;"
    "make_map_cohort(pathlib.Path(sys.argv[1]), subjects=16, sites=2)"
)
SCAN = (
    "from migxai.demo.image_cohort import make_cohort; from migxai.demo.settings import SMALL; import pathlib, sys;"
    "list(make_cohort(pathlib.Path(sys.argv[1]), SMALL, 1))"
)
GROUP = (
    "--indicators", "reho", "--slices", "4", "--bootstraps", "50", "--weights", "random", "--augmentations", "1",
    "--epochs", "1", "--folds", "3", "--trials", "1", "--comparison", "hc_vs_migraine", "--models", "resnet18", "svm",
    "--nprocs", "1",
)  # fmt: skip


def sizes(package: Path) -> str:
    """Describe files, lines and functions of a package."""
    files = sorted(package.rglob("*.py"))
    kinds, functions = {"code": 0, "docstring": 0, "comment": 0, "blank": 0}, []
    for file in files:
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text)
        functions += [
            node.end_lineno - node.lineno + 1
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
        ]
        documented = docstring_lines(tree)
        for number, line in enumerate(text.splitlines(), 1):
            kinds[kind_of(line, documented=number in documented)] += 1
    lines = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    functions.sort()
    return (
        f"{len(files)} files, {sum(kinds.values())} lines ({lines}); {len(functions)} functions, median "
        f"{statistics.median(functions):g}, 95th percentile {functions[int(0.95 * len(functions))]}, "
        f"longest {functions[-1]} lines"
    )


def docstring_lines(tree: ast.Module) -> set[int]:
    """Return the numbers of the lines that docstrings take."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            text = node.body[0]
            found |= set(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return found


def kind_of(line: str, *, documented: bool) -> str:
    """Say what a line is."""
    if documented:
        return "docstring"
    if not line.strip():
        return "blank"
    return "comment" if line.strip().startswith("#") else "code"


def band_files(package: Path) -> list[str]:
    """Return the files that the band edges pass through."""
    found = []
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package)
        if set(ELSEWHERE).isdisjoint(name.parts):
            plain = not set(PLAIN).isdisjoint(name.parts)
            words = set(words_of(ast.parse(file.read_text(encoding="utf-8")), plain=plain))
            if "band" in words or {"low", "high"} <= words:
                found.append(name.as_posix())
    return found


def words_of(tree: ast.Module, *, plain: bool) -> Iterator[str]:
    """Yield the attributes, keywords and strings of a module; also its names and parameters, if they are `plain`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and plain:
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.keyword) or (isinstance(node, ast.arg) and (plain or node.arg == "band")):
            yield node.arg or ""
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def entered(tree: Path, notes: Path, arguments: list[str], *, until: str = "") -> str:
    """Run the command line of a tree and describe what it enters.

    Parameters
    ----------
    tree
        The checkout.
    notes
        A directory for what the processes note; it is emptied.
    arguments
        The command line.
    until
        A function of the reports whose first call ends the count, if any.
    """
    shutil.rmtree(notes, ignore_errors=True)
    (notes / "hook").mkdir(parents=True)
    (notes / "hook" / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
    package = f"{tree / 'migxai'}{os.sep}"
    paths = {"PYTHONPATH": f"{notes / 'hook'}{os.pathsep}{tree}", "HOUSE_PACKAGE": package, "HOUSE_NOTES": str(notes)}
    done = subprocess.run([sys.executable, "-m", "migxai", *arguments], env=os.environ | paths, cwd=notes, check=False)
    rows = [line.split("\t") for file in notes.iterdir() if file.is_file() for line in file.read_text().splitlines()]
    ends = [float(when) for when, file, name in rows if until and file.startswith("reports") and name == until]
    rows = [row for row in rows if not ends or float(row[0]) < min(ends)]
    files = {file for _, file, _ in rows}
    functions = {(file, name) for _, file, name in rows}
    return f"{len(files)} files, {len(functions)} functions (exit code {done.returncode})"


def main() -> None:
    """Measure a tree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tree", type=lambda text: Path(text).resolve())
    parser.add_argument("--runs", type=lambda text: Path(text).resolve())
    given = parser.parse_args()
    print(f"size: {sizes(given.tree / 'migxai')}")
    band = band_files(given.tree / "migxai")
    print(f"band edges: {len(band)} files: {', '.join(band)}")
    if given.runs is None:
        return
    for name, program in (("maps", MAPS), ("scan", SCAN)):
        if not (given.runs / name).exists():
            subprocess.run([sys.executable, "-c", program, str(given.runs / name)], check=True)
    out, notes = given.runs / f"out-{os.getpid()}", given.runs / "notes"
    places = {"participant": given.runs / "scan" / "raw", "group": given.runs / "maps" / "maps"}
    group = [str(places["group"]), str(out / "group"), "group", *GROUP]
    participant = [str(places["participant"]), str(out / "participant"), "participant", "--nprocs", "1"]
    print(f"group run, before its report: {entered(given.tree, notes, group, until='write_report')}")
    print(f"participant run: {entered(given.tree, notes, participant)}")


if __name__ == "__main__":
    main()
