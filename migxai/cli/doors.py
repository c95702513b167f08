"""Where the command line hands over to the layer below."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Doors:
    """The functions of the layer below, as ``module:function``, imported when they are called.

    Attributes
    ----------
    run_subject, report_subject
        Called in a child process as ``function(config, subject, report)``.
    run_with_plugin
        Called as ``function(config, subjects, plugin)``; returns, for each subject that failed, its error.
    write_boilerplate
        Called as ``function(config)``.
    run_group, score_group, describe_group, group_status, failed_checks
        The group level: run it as ``function(config, processes, memory_gb, report)``; write its tables anew, say
        what would be run, say what is missing, and which checks failed, as ``function(config)``. Each returns lines
        of text; those of `run_group` and `group_status` say what failed or is missing.
    predict_group
        Classifies maps with a saved model, as ``function(config, path)``; returns lines of text.
    """

    run_subject: str = "migxai.participant.run:run_subject"
    report_subject: str = "migxai.participant.run:report_subject"
    run_with_plugin: str = "migxai.participant.run:run_with_plugin"
    write_boilerplate: str = "migxai.participant.run:write_boilerplate"
    run_group: str = "migxai.group.run:run_group"
    score_group: str = "migxai.group.run:score_group"
    describe_group: str = "migxai.group.run:describe_group"
    group_status: str = "migxai.group.run:group_status"
    failed_checks: str = "migxai.group.run:failed_checks"
    predict_group: str = "migxai.group.predict:predict_group"
