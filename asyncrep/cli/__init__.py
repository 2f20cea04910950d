"""The command line: parses, calls one public coroutine, renders.

    app.py         the Typer application; what a command may raise becomes a sentence and an exit code
    options.py     groups of options as frozen dataclasses, and how a command takes a whole group
    places.py      which tables are meant: arguments, environment, asyncrep.toml
    runtime.py     the event loop, signals, exit codes
    bars.py        progress: rich bars on a terminal, a line every few seconds otherwise
    output.py      discrepancies as JSON lines and in rclone's notation
    shown_run.py   a run with progress, whose results are told however it ends
    checking.py    a run that finds discrepancies: where they go, and what is told of it; check.py for tables,
                   backup_check.py for backups
    render.py      summaries and records for people; words.py what the two sides are called
    moments.py     --at: a moment as people write it
    plan_table.py  a plan for people
    permissions.py what each command may do to AWS, and why; policy.py makes IAM statements of it
    diff_tables.py plan.py records.py sandbox.py iam_policy.py
                   the commands

stdout carries results, stderr carries progress and messages.
"""
