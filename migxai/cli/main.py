"""Entry point: parse, check, dispatch, and end with an exit code that tells the truth."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Sequence

from migxai.cli.doors import Doors
from migxai.cli.options import problems
from migxai.cli.parser import Request, parse
from migxai.errors import EXIT_INTERNAL, EXIT_OK, EXIT_RESOURCES, EXIT_SIGNAL, MigxaiError


def main(argv: Sequence[str] | None = None, *, doors: Doors | None = None) -> int:
    """Run migxai.

    Parameters
    ----------
    argv
        The arguments without the program's name (default: those of this process).
    doors
        Where the work is done (default: the participant workflow).

    Returns
    -------
    int
        The exit code: 0 all done, 1 some subjects failed, 2 wrong usage, 3 unusable input, 5 out of memory or disk,
        70 internal error, 128+n ended by signal n.
    """
    try:
        request = parse(argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_OK
    except MigxaiError as error:
        return _say(str(error), error.exit_code)
    from migxai.execution.runner import Terminated, signals_raise
    from migxai.execution.worker import failure

    for sentence in problems(request.level):
        sys.stderr.write(f"migxai: {sentence}\n")
    try:
        with signals_raise():
            return _dispatch(request, doors or Doors())
    except Terminated as end:
        name = signal.Signals(end.signum).name
        text = f"Ended by {name}; what was complete is kept, and the same command goes on from there."
        return _say(text, EXIT_SIGNAL + end.signum)
    except BrokenPipeError:  # whoever read the output has gone; a shell would end us by this signal
        sys.stdout = None
        return EXIT_SIGNAL + signal.SIGPIPE
    except MigxaiError as error:
        return _say(str(error), error.exit_code)
    except Exception as error:
        event = failure(error, "all")
        if event.code == EXIT_RESOURCES:
            return _say(event.text.replace("sub-all ran", "The run"), EXIT_RESOURCES)
        return _say(f"{event.text}{_keep_traceback(request)}", EXIT_INTERNAL)


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"migxai: {text}\n")
    return code


def _keep_traceback(request: Request) -> str:
    """Write the traceback of the current exception to the run's log, or show it if there is none."""
    from migxai.cli.preflight import directories
    from migxai.cli.session import log_file

    work_dir = directories(request.config)[2]
    if not (work_dir / "logs").is_dir():
        traceback.print_exc()
        return ""
    file = log_file(work_dir)
    with file.open("a", encoding="utf-8") as stream:
        traceback.print_exc(file=stream)
    return f" (traceback in {file})"


def _dispatch(request: Request, doors: Doors) -> int:
    from migxai.bids.subjects import array_part, select_subjects
    from migxai.cli import group_session, session
    from migxai.cli.preflight import check_places
    from migxai.execution.resources import divide
    from migxai.execution.worker import prepare_environment

    check_places(request.config, level=request.level)
    if request.level == "group":
        return group_session.process(request, doors)
    subjects = array_part(request.array_index, select_subjects(request.config))
    if request.action == "status":
        return session.show_status(request.config, subjects)
    if request.action == "write_sbatch":
        from migxai.cli.sbatch import write_sbatch

        sys.stdout.write(write_sbatch(request.config, subjects, request.argv, group=request.sbatch_group))
        return EXIT_OK
    from migxai.participant.resources import estimate

    need = estimate(request.config, subjects)
    share = divide(request.config, len(subjects), need.memory_gb if need else None)
    # Before anything below imports nipype or a numerical library, here or in a child.
    prepare_environment(share.threads)
    if request.action == "dry_run":
        return session.show_plan(request.config, subjects, share)
    if request.action == "boilerplate_only":
        return session.write_boilerplate(request.config, doors.write_boilerplate)
    entry = doors.report_subject if request.action == "reports_only" else doors.run_subject
    return session.process(
        request.config,
        subjects,
        share,
        entry=entry,
        plugin_entry=doors.run_with_plugin,
        compute=request.action == "run",
    )
