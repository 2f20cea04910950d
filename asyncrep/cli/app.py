"""The application ``asyncrep``: its commands and how it is started."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from asyncrep.cli import (
    diff_tables,
    explain,
    iam_policy,
    jobs,
    plan,
    records,
    repair,
    replicate,
    sandbox,
    template,
    undo,
)
from asyncrep.cli.options import paragraphs
from asyncrep.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    help="Keep DynamoDB tables replicated, prove that a replica is right, and repair it.",
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


app.command("demo", help=paragraphs(sandbox.DEMO_HELP), epilog=sandbox.DEMO_EPILOG)(sandbox.demo)
app.command("sandbox", help=paragraphs(sandbox.SANDBOX_HELP), epilog=sandbox.SANDBOX_EPILOG)(sandbox.sandbox)
app.command("diff-tables", help=paragraphs(diff_tables.HELP), epilog=diff_tables.EPILOG)(
    diff_tables.diff_tables
)
app.command("repair", help=paragraphs(repair.HELP), epilog=repair.EPILOG)(repair.repair)
app.command("undo", help=paragraphs(undo.HELP), epilog=undo.EPILOG)(undo.undo)
app.command("replicate", help=paragraphs(replicate.HELP), epilog=replicate.EPILOG)(replicate.replicate)
app.command("plan", help=paragraphs(plan.HELP), epilog=plan.EPILOG)(plan.plan)
app.command("diff-record", help=paragraphs(records.DIFF_HELP), epilog=records.DIFF_EPILOG)(
    records.diff_record
)
app.command("explain", help=paragraphs(explain.HELP), epilog=explain.EPILOG)(explain.explain)
app.command("replicate-record", help=paragraphs(records.REPLICATE_HELP), epilog=records.REPLICATE_EPILOG)(
    records.replicate_record
)
app.add_typer(jobs.app, name="jobs", help=paragraphs(jobs.HELP), epilog=jobs.EPILOG)
app.command(
    "iam-policy",
    help=paragraphs(iam_policy.HELP),
    epilog=iam_policy.EPILOG,
    context_settings={"allow_interspersed_args": False},  # what follows COMMAND belongs to it
)(iam_policy.iam_policy)

app.command("template", help=paragraphs(template.HELP), epilog=template.EPILOG)(template.template)


def main() -> None:
    """Run the command line."""
    app()
