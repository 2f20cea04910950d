"""The application ``asyncrep``: its commands and how it is started."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from asyncrep.cli import (
    backup_table,
    backups,
    diff_backup,
    diff_tables,
    explain,
    iam_policy,
    incremental,
    incremental_history,
    incremental_snapshot,
    jobs,
    plan,
    records,
    repair,
    replicate,
    restore,
    sandbox,
    template,
    undo,
)
from asyncrep.cli.options import paragraphs
from asyncrep.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class _Commands(TyperGroup):
    """All commands. What the parser refuses it quotes; nothing in that may steer a terminal."""

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        """Read the options before the command."""
        with _printable_refusals():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:
        """Read the command and its options, and run it."""
        with _printable_refusals():
            return super().invoke(ctx)


@contextmanager
def _printable_refusals() -> Iterator[None]:
    try:
        yield
    except Exception as refused:
        # The parser's exceptions have no public name in common; nothing else comes this far.
        if isinstance(message := getattr(refused, "message", None), str):
            from asyncrep.cli.render import printable  # noqa: PLC0415 - rich, only when it is needed

            refused.message = printable(message)  # type: ignore[attr-defined]
        raise


app = typer.Typer(
    name="asyncrep",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    help="Keep DynamoDB tables replicated, prove that a replica is right, repair it, and keep backups that can be restored.",
    epilog="New here? [bold]asyncrep demo[/bold] shows it all on an embedded AWS, without an account.",
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"asyncrep {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


class _Listed(NamedTuple):
    """A command as the help of all commands lists it: its name, its module's texts, and what it does in a line."""

    name: str
    function: Callable[..., None]
    help: str
    epilog: str
    short: str


_COMMANDS = {
    "Try it": [
        _Listed("demo", sandbox.demo, sandbox.DEMO_HELP, sandbox.DEMO_EPILOG, "The whole story, on an embedded AWS."),
        _Listed(
            "sandbox", sandbox.sandbox, sandbox.SANDBOX_HELP, sandbox.SANDBOX_EPILOG, "Keep that embedded AWS running."
        ),
    ],
    "Compare and repair": [
        _Listed(
            "diff-tables", diff_tables.diff_tables, diff_tables.HELP, diff_tables.EPILOG,
            "Check a replica in full; with --repair, mend it.",
        ),
        _Listed("plan", plan.plan, plan.HELP, plan.EPILOG, "What a full check takes, before it is run."),
        _Listed("repair", repair.repair, repair.HELP, repair.EPILOG, "Apply a stored diff that was reviewed."),
        _Listed("undo", undo.undo, undo.HELP, undo.EPILOG, "Take a repair back."),
        _Listed("explain", explain.explain, explain.HELP, explain.EPILOG, "The story of one record."),
        _Listed(
            "diff-record", records.diff_record, records.DIFF_HELP, records.DIFF_EPILOG,
            "Compare one record, attribute by attribute.",
        ),
        _Listed(
            "replicate-record", records.replicate_record, records.REPLICATE_HELP, records.REPLICATE_EPILOG,
            "Bring one record in line.",
        ),
    ],
    "Replicate": [
        _Listed(
            "replicate", replicate.replicate, replicate.HELP, replicate.EPILOG,
            "Follow a stream into tables and folders.",
        ),
    ],
    "Back up and restore": [
        _Listed(
            "backup-table", backup_table.backup_table, backup_table.HELP, backup_table.EPILOG, "Dump a table."
        ),
        _Listed("restore", restore.restore, restore.HELP, restore.EPILOG, "Write a backup into a table."),
        _Listed(
            "diff-backup", diff_backup.diff_backup, diff_backup.HELP, diff_backup.EPILOG,
            "Check a backup against the table, or another.",
        ),
    ],
    "Incremental backups": [
        _Listed(
            "incremental-backfill", incremental.incremental_backfill, incremental.BACKFILL_HELP,
            incremental.BACKFILL_EPILOG, "Fill a folder: an object for each item.",
        ),
        _Listed(
            "incremental-snapshot", incremental_snapshot.incremental_snapshot, incremental_snapshot.HELP,
            incremental_snapshot.EPILOG, "Make one file of a folder.",
        ),
        _Listed(
            "incremental-diff-record", incremental.incremental_diff_record, incremental.DIFF_HELP,
            incremental.DIFF_EPILOG, "Compare one record with its object.",
        ),
        _Listed(
            "incremental-backup-record", incremental.incremental_backup_record, incremental.RECORD_HELP,
            incremental.RECORD_EPILOG, "Bring one record's object in line.",
        ),
        _Listed(
            "incremental-record-history", incremental_history.incremental_record_history, incremental_history.HELP,
            incremental_history.EPILOG, "Every version of one record.",
        ),
    ],
}  # fmt: skip
_OPERATE = "Operate"

for _panel, _listed in _COMMANDS.items():
    for _each in _listed:
        app.command(
            _each.name,
            help=paragraphs(_each.help),
            short_help=_each.short,
            epilog=_each.epilog,
            rich_help_panel=_panel,
        )(_each.function)
app.add_typer(
    backups.app,
    name="backups",
    help=paragraphs(backups.HELP),
    short_help="List, verify and prune dumps.",
    epilog=backups.EPILOG,
    rich_help_panel="Back up and restore",
)
app.add_typer(
    jobs.app,
    name="jobs",
    help=paragraphs(jobs.HELP),
    short_help="Runs that go on after an interruption.",
    epilog=jobs.EPILOG,
    rich_help_panel=_OPERATE,
)
app.command(
    "template",
    help=paragraphs(template.HELP),
    short_help="CloudFormation for a deployment.",
    epilog=template.EPILOG,
    rich_help_panel=_OPERATE,
)(template.template)
app.command(
    "iam-policy",
    help=paragraphs(iam_policy.HELP),
    short_help="The least that AWS must allow for a command.",
    epilog=iam_policy.EPILOG,
    context_settings={"allow_interspersed_args": False},  # what follows COMMAND belongs to it
    rich_help_panel=_OPERATE,
)(iam_policy.iam_policy)


def main() -> None:
    """Run the command line."""
    app()
