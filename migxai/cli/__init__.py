"""The command line: options as data, checks before a run, a child process for each subject, honest exit codes."""
