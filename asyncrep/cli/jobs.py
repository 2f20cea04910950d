"""``jobs``: list, show, remove and merge jobs that commands with ``--job`` keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncrep.cli.options import paragraphs, spread_options
from asyncrep.cli.runtime import exit_code, exit_codes, run_async
from asyncrep.cli.storage_options import S3Options
from asyncrep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.jobs.listing import Seen
    from asyncrep.jobs.merge import Merged
    from asyncrep.options import S3Access

HELP = """
List, show, remove and merge jobs: runs that go on after an interruption, of [bold]diff-tables[/bold],
[bold]backup-table[/bold] and other commands that were given the name of a job.

Without a command all jobs in the state folder are listed. One that is kept elsewhere is called by its place: a path
with a slash in it, or s3://BUCKET/PREFIX.
"""
EPILOG = """
[bold]Examples[/bold]

  asyncrep jobs

  asyncrep jobs show nightly

  asyncrep jobs remove --done

  asyncrep jobs merge part-0 part-1 part-2 --json
"""
LIST_HELP = """
List the jobs in the state folder, the one that was saved last first.

A job is running while a process works on it, done when it has come to its end, and else interrupted: the command
that began it goes on with it.
"""
LIST_EPILOG = """
[bold]Examples[/bold]

  asyncrep jobs list

  asyncrep jobs list --json
"""
SHOW_HELP = """
Show one job: its options, how far each segment is, what was counted, and how to go on.

JOB is a name, a path with a slash in it, or s3://BUCKET/PREFIX. A job in S3 counts as running for two minutes after
it was saved by a process that did not say that it ends.
"""
SHOW_EPILOG = """
[bold]Examples[/bold]

  asyncrep jobs show nightly

  asyncrep jobs show s3://my-bucket/jobs/nightly --json
"""
REMOVE_HELP = """
Remove jobs. Results and whatever else is in a job's folder stay; so does the journal of what a repair wrote, which
asyncrep undo needs, unless [bold]--with-journal[/bold] is given.

Nothing is removed while another process works on one of the jobs.
"""
REMOVE_EPILOG = """
[bold]Examples[/bold]

  asyncrep jobs remove nightly

  asyncrep jobs remove --done --dry-run

  asyncrep jobs remove s3://my-bucket/jobs/nightly --with-journal
"""
MERGE_HELP = """
Add up the summaries of jobs that each looked at a part of the same tables, as
[bold]diff-tables --segment K --segments N --job NAME[/bold] does, and say which segments are missing.

All of them must have been begun with the same options.
"""
MERGE_EPILOG = """
[bold]Examples[/bold]

  asyncrep jobs merge part-0 part-1 part-2 part-3

  asyncrep jobs merge s3://my-bucket/jobs/0 s3://my-bucket/jobs/1 --json

[bold]Exit codes[/bold]

    0  every segment was looked at, and agrees or was repaired

    1  discrepancies remain

    2  wrong usage: no such job, or no parts of one whole

    3  segments are missing or not finished, or some records could not be repaired
"""

app = typer.Typer(
    rich_markup_mode="rich",
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)

_Json = Annotated[bool, typer.Option("--json", help="As JSON on stdout.")]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks of errors.")]


@app.callback(invoke_without_command=True)
def jobs(context: typer.Context, *, json: _Json = False, verbose: _Verbose = False) -> None:
    """List, show, remove and merge jobs."""
    with exit_codes(verbose=verbose):
        if context.invoked_subcommand is None:
            _list(json=json)
        elif json:
            raise UsageError(f"Write --json behind {context.invoked_subcommand}.")


@app.command(
    "list", help=paragraphs(LIST_HELP), short_help="List the jobs in the state folder.", epilog=LIST_EPILOG
)
def list_jobs(*, json: _Json = False, verbose: _Verbose = False) -> None:
    """List the jobs in the state folder."""
    with exit_codes(verbose=verbose):
        _list(json=json)


def _list(*, json: bool) -> None:
    from asyncrep.jobs.listing import known_jobs  # noqa: PLC0415

    seen = run_async(known_jobs())
    if json:
        _print([each.as_dict() for each in seen if each.status != "removed"])
        return
    from asyncrep.cli.jobs_view import show_list  # noqa: PLC0415
    from asyncrep.cli.render import result_console  # noqa: PLC0415

    show_list(result_console(), seen)


@app.command(
    "show",
    help=paragraphs(SHOW_HELP),
    short_help="Show one job, and how to go on with it.",
    epilog=SHOW_EPILOG,
)
@spread_options
def show(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A name, a path or s3://…", show_default=False)],
    storing: S3Options,
    *,
    json: _Json = False,
    verbose: _Verbose = False,
) -> None:
    """Show one job."""
    from asyncrep.jobs.listing import look_at  # noqa: PLC0415

    with exit_codes(verbose=verbose):
        access = _access([job], storing)
        seen = run_async(look_at(job, access))
        if seen.state is None:
            raise UsageError(f"There is no job in {seen.place}; only its journal was kept.")
        from asyncrep.cli.jobs_view import details, show_job  # noqa: PLC0415
        from asyncrep.cli.render import result_console  # noqa: PLC0415

        if json:
            _print(details(seen, seen.state, access))
        else:
            show_job(result_console(), seen, seen.state, access)


@app.command(
    "remove",
    help=paragraphs(REMOVE_HELP),
    short_help="Remove jobs; their journals stay.",
    epilog=REMOVE_EPILOG,
)
@spread_options
def remove_jobs(
    storing: S3Options,
    jobs: Annotated[
        list[str] | None,
        typer.Argument(metavar="JOB …", help="Names, paths or s3://…", show_default=False),
    ] = None,
    *,
    done: Annotated[bool, typer.Option("--done", help="All jobs of the state folder that are done.")] = False,
    with_journal: Annotated[
        bool,
        typer.Option("--with-journal", help="Their journals too: what they wrote cannot be taken back then."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Remove nothing, tell what would be removed.")
    ] = False,
    verbose: _Verbose = False,
) -> None:
    """Remove jobs."""
    with exit_codes(verbose=verbose):
        if done == bool(jobs):
            raise UsageError("Name the jobs to remove, or give --done for all that are done.")
        from asyncrep.cli.jobs_view import show_removed  # noqa: PLC0415
        from asyncrep.cli.render import result_console  # noqa: PLC0415

        access = _access(jobs or (), storing)
        for seen in run_async(_remove(jobs, access, with_journal=with_journal, dry_run=dry_run)):
            show_removed(result_console(), seen, with_journal=with_journal, dry_run=dry_run, access=access)


def _access(names: Sequence[str], storing: S3Options) -> S3Access:
    """Return how S3 is reached.

    Raises:
        UsageError: none of the jobs is in S3, and one of the options is given.
    """
    from asyncrep.jobs.place import job_place  # noqa: PLC0415

    storing.check_used(*map(job_place, names))
    return storing.access()


async def _remove(
    names: Sequence[str] | None, access: S3Access, *, with_journal: bool, dry_run: bool
) -> list[Seen]:
    """Remove jobs, by default those that are done; nothing, if one of them cannot be removed."""
    from asyncrep.jobs.listing import check_removable, known_jobs, remove  # noqa: PLC0415

    if names is None:
        chosen = [each for each in await known_jobs() if each.status == "done"]
    else:
        chosen = [await check_removable(name, access) for name in dict.fromkeys(names)]
    for seen in [] if dry_run else chosen:
        await remove(seen, with_journal=with_journal, access=access)
    return chosen


@app.command(
    "merge",
    help=paragraphs(MERGE_HELP),
    short_help="Add up jobs that each looked at a part.",
    epilog=MERGE_EPILOG,
)
@spread_options
def merge(
    jobs: Annotated[
        list[str], typer.Argument(metavar="JOB …", help="Names, paths or s3://…", show_default=False)
    ],
    storing: S3Options,
    *,
    json: _Json = False,
    verbose: _Verbose = False,
) -> None:
    """Add up the summaries of jobs."""
    with exit_codes(verbose=verbose):
        access = _access(jobs, storing)
        whole = run_async(_merge(jobs, access))
        if json:
            _print(whole.as_dict())
        else:
            from asyncrep.cli.jobs_view import show_merged  # noqa: PLC0415
            from asyncrep.cli.render import result_console  # noqa: PLC0415

            show_merged(result_console(), whole, access)
        raise typer.Exit(exit_code(whole.report))


async def _merge(names: Sequence[str], access: S3Access) -> Merged:
    from asyncrep.jobs.listing import look_at  # noqa: PLC0415
    from asyncrep.jobs.merge import merged  # noqa: PLC0415

    return merged([await look_at(name, access) for name in names])


def _print(told: Any) -> None:
    from asyncrep.cli.output import print_json  # noqa: PLC0415 - people read no JSON

    print_json(told)
