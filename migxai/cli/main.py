"""Entry point: parse, check, dispatch, and end with an exit code that tells the truth."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Sequence

from migxai.cli.options import problems
from migxai.cli.parser import Request, parse
from migxai.config import directories
from migxai.errors import EXIT_INTERNAL, EXIT_OK, EXIT_RESOURCES, EXIT_SIGNAL, MigxaiError


def main(argv: Sequence[str] | None = None) -> int:
    """Run migxai.

    Parameters
    ----------
    argv
        The arguments without the program's name (default: those of this process).

    Returns
    -------
    int
        The exit code: 0 all done, 1 some subjects failed, 2 wrong usage, 3 unusable input, 4 failed checks where they
        count, 5 out of memory or disk, 70 internal error, 128+n ended by signal n.
    """
    try:
        request = parse(argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_OK
    except MigxaiError as error:
        return _say(str(error), error.exit_code)
    # Imported late, here and below, so that --help, --version and wrong arguments are answered at once.
    from migxai.execution.children import failure
    from migxai.execution.run import Terminated, signals_raise

    for sentence in problems():
        sys.stderr.write(f"migxai: {sentence}\n")
    try:
        with signals_raise():
            return _participant_level(request) if request.level == "participant" else _group_level(request)
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


def _participant_level(request: Request) -> int:
    from migxai.bids.inputs import select_subjects
    from migxai.cli import participant
    from migxai.cli.preflight import check_places
    from migxai.execution.environment import array_part, divide, prepare_environment

    config = request.config
    check_places(config, level="participant")
    subjects = array_part(request.array_index, select_subjects(config))
    if request.action == "status":
        return participant.show_status(config, subjects)
    if request.action == "write_sbatch":
        return participant.write_sbatch(config, subjects, request.argv, group=request.sbatch_group)
    from migxai.participant.resources import estimate

    need = estimate(config, subjects)
    share = divide(config, len(subjects), need.memory_gb if need else None)
    # Before anything below imports nipype or a numerical library, here or in a child.
    prepare_environment(share.threads)
    if request.action == "dry_run":
        return participant.show_plan(config, subjects, share)
    if request.action == "boilerplate_only":
        return participant.write_boilerplate(config)
    return participant.process(config, subjects, share, reports_only=request.action == "reports_only")


def _group_level(request: Request) -> int:
    from migxai.cli import group
    from migxai.cli.preflight import check_places
    from migxai.execution.environment import prepare_environment

    config = request.config
    check_places(config, level="group")
    # Before anything below imports a numerical library. One thread, so that results are the same bits on any number
    # of CPUs.
    prepare_environment(1)
    if request.action == "dry_run":
        return group.show_plan(config)
    if request.action == "status":
        return group.show_status(config)
    if request.action == "reports_only":
        return group.rewrite_scores(config)
    if request.predict is not None:
        return group.predict(config, request.predict)
    return group.process(config)


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"migxai: {text}\n")
    return code


def _keep_traceback(request: Request) -> str:
    """Write the traceback of the current exception to the run's log, or show it if there is none."""
    from migxai.execution.run import log_file

    work_dir = directories(request.config)[2]
    if not (work_dir / "logs").is_dir():
        traceback.print_exc()
        return ""
    file = log_file(work_dir)
    with file.open("a", encoding="utf-8") as stream:
        traceback.print_exc(file=stream)
    return f" (traceback in {file})"
