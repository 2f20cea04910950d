"""``demo`` and ``sandbox``: the whole story on an embedded AWS, told or to be tried oneself."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from asyncrep.cli.options import OutputOptions, RepairOptions
from asyncrep.cli.runtime import AGREE, DISCREPANCIES, FAILED, Interrupted, complain, exit_codes, run_async

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from asyncrep.sandbox import EmbeddedAws, Seeded

DEMO_HELP = """
Show asyncrep at work: an embedded AWS, two tables of real airports in two Regions, drift, diff, repair,
diff again; a backup, and a table restored from it. Takes under a minute and needs no account; nothing leaves this
machine.

The exit code is 0 only if exactly the drift that was made is found, all of it is repaired, and what was restored
is what was backed up.
"""
DEMO_EPILOG = """
[bold]Examples[/bold]

  asyncrep demo

  asyncrep demo --airports 1000
"""
SANDBOX_HELP = """
Keep the embedded AWS of the demo running, with its drifted tables and a bucket that keeps versions, and print
commands to try against it.

Ctrl-C ends it; everything in it is forgotten then.
"""
SANDBOX_EPILOG = """
[bold]Examples[/bold]

  asyncrep sandbox

  asyncrep sandbox --port 4566 --airports 1000
"""
SEGMENTS = 16
_COLUMNS = 80

_Port = Annotated[
    int, typer.Option(metavar="PORT", help="Port of 127.0.0.1 to listen on; 0 takes a free one.")
]
_Airports = Annotated[
    int | None, typer.Option(metavar="N", help="Airports in the primary. [dim]Default: 4000.[/dim]")
]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks of errors.")]


def demo(*, port: _Port = 0, airports: _Airports = None, verbose: _Verbose = False) -> None:
    """Tell the whole story."""
    with exit_codes(verbose=verbose), _embedded_aws(port, verbose=verbose) as aws:
        raise typer.Exit(Story(aws, airports).tell())


def sandbox(*, port: _Port = 0, airports: _Airports = None, verbose: _Verbose = False) -> None:
    """Keep the embedded AWS running."""
    from asyncrep.cli.render import result_console  # noqa: PLC0415

    with exit_codes(verbose=verbose), _embedded_aws(port, verbose=verbose) as aws:
        seeded = _seed(aws, airports)
        _print_invitation(result_console(), aws, seeded)
        try:
            run_async(asyncio.Event().wait())
        except Interrupted:  # the way to end it, not a failure
            complain("The sandbox is closed.")


class Story:
    """The demo: made drift is found, repaired, and found no more."""

    def __init__(self, aws: EmbeddedAws, airports: int | None) -> None:
        from asyncrep.cli.render import result_console  # noqa: PLC0415

        self._aws = aws
        self._airports = airports
        self._console = result_console()

    def tell(self) -> int:
        """Run the demo and return its exit code."""
        self._chapter(1, "Two tables of real airports, in two Regions of an embedded AWS")
        seeded = _seed(self._aws, self._airports)
        made = seeded.drift
        self._say(
            f"{seeded.primary} holds {seeded.items:,} items and {seeded.replica} is its replica. It has drifted: "
            f"{made.missing} items are missing, {made.different} different and {made.extraneous} extraneous. "
            f"In {made.respelled} more only the spelling differs (1.50 for 1.5, sets in another order): no drift."
        )
        self._chapter(2, "What differs?")
        found = self._run(seeded)
        self._chapter(3, "Repair it")
        repaired = self._run(seeded, "--repair")
        self._chapter(4, "Is it right now?")
        proven = self._run(seeded)
        self._chapter(5, "Back it up, and get it back")
        restored = self._back_up_and_restore(seeded)
        self._epilogue(seeded)
        if (found, repaired, proven, restored) == (DISCREPANCIES, AGREE, AGREE, AGREE):
            return AGREE
        complain("Error: the demo did not go as it should; please report this with the output above.")
        return FAILED

    def _run(self, seeded: Seeded, *options: str) -> int:
        from asyncrep.aws.place import Place  # noqa: PLC0415
        from asyncrep.cli.check import Check, Keeping, Manner  # noqa: PLC0415
        from asyncrep.location import TableRef  # noqa: PLC0415
        from asyncrep.options import Comparison, Limits  # noqa: PLC0415

        self._command(seeded, *options)
        endpoint = self._aws.endpoint_url
        ours, theirs = (
            TableRef.parse(name, endpoint_url=endpoint) for name in (seeded.primary, seeded.replica)
        )
        check = Check(
            (Place(ours), Place(theirs)),
            Limits(segments=SEGMENTS),
            Manner(),
            Comparison(),
            RepairOptions(repair="--repair" in options),
            Keeping(noted=False),
        )
        code = check.run(OutputOptions())
        self._console.print(f"exit code {code}", style="dim")
        return code

    def _back_up_and_restore(self, seeded: Seeded) -> int:
        """Run three commands as they are typed; return the code of the first that fails, or of the last."""
        from asyncrep.cli.app import app  # noqa: PLC0415 - which has the demo among its commands

        place, dump = f"s3://{seeded.bucket}/dumps", f"s3://{seeded.bucket}/dumps/first"
        copy = f"{seeded.primary}-2"
        code = AGREE
        for words in (
            ("backup-table", seeded.primary, place, "--jobid", "first"),
            ("restore", dump, copy, "--create"),
            ("diff-backup", dump, copy),
        ):
            self._console.print(
                f"$ asyncrep {' '.join(words)}", style="cyan", highlight=False, soft_wrap=True
            )
            code = app(list(words), standalone_mode=False)
            self._console.print(f"exit code {code}", style="dim")
            if code != AGREE:
                break
        return code

    def _command(self, seeded: Seeded, *options: str) -> None:
        words = ["$ asyncrep diff-tables", seeded.primary, seeded.replica, f"--segments {SEGMENTS}", *options]
        self._console.print(" ".join(words), style="cyan", highlight=False, soft_wrap=True)

    def _chapter(self, number: int, title: str) -> None:
        self._console.print()
        self._console.rule(f"[bold]{number}. {title}[/bold]", align="left", characters="─")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False)

    def _epilogue(self, seeded: Seeded) -> None:
        self._chapter(6, "Now you")
        self._console.print("Play with it yourself; this keeps the embedded AWS running:", highlight=False)
        self._console.print("$ asyncrep sandbox", style="cyan", highlight=False)
        self._console.print("With AWS credentials, the same command works on real tables:", highlight=False)
        self._console.print(
            f"$ asyncrep diff-tables us-east-1/orders eu-west-1/orders --segments {SEGMENTS}",
            style="cyan", highlight=False, soft_wrap=True,
        )  # fmt: skip
        del seeded


@contextmanager
def _embedded_aws(port: int, *, verbose: bool) -> Iterator[EmbeddedAws]:
    """Start the embedded AWS and turn this process's AWS settings towards it."""
    from asyncrep.sandbox import EmbeddedAws  # noqa: PLC0415

    if not verbose:  # what moto does not know it logs with a traceback
        logging.getLogger("asyncrep.sandbox").addHandler(logging.NullHandler())
    with EmbeddedAws(port) as aws:
        for variable in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[variable]  # a profile or another endpoint would lead elsewhere
        os.environ.update(aws.environment, NO_PROXY="127.0.0.1")
        yield aws


def _seed(aws: EmbeddedAws, airports: int | None) -> Seeded:
    from asyncrep.cli.render import message_console  # noqa: PLC0415
    from asyncrep.sandbox import seed  # noqa: PLC0415

    with message_console().status("Filling two tables …"):
        return seed(aws, airports=airports)


def _print_invitation(console: Console, aws: EmbeddedAws, seeded: Seeded) -> None:
    exports = "\n".join(f"export {name}={value}" for name, value in aws.environment.items())
    console.print(
        f"An embedded AWS listens on {aws.endpoint_url}, until Ctrl-C.", style="bold", highlight=False
    )
    console.print(
        f"{seeded.primary}: {seeded.items:,} airports; {seeded.replica}: its drifted replica. Both "
        f"have streams. s3://{seeded.bucket} is a bucket that keeps versions.",
        highlight=False,
    )
    console.print("\nIn a second terminal, first:\n", highlight=False)
    console.print(exports, style="cyan", highlight=False, soft_wrap=True)
    for title, commands in _examples(seeded):
        console.print(f"\n{title}:\n", highlight=False)
        shown = "\n".join(map(_broken, commands))
        console.print(shown, style="cyan", highlight=False, soft_wrap=True)


def _broken(command: str) -> str:
    """Return a command that still works when it is pasted, in lines of at most 80 columns."""
    if len(command) <= _COLUMNS:
        return command
    at = max(command.rfind(start, 0, _COLUMNS - 1) for start in (" --", " '", " &&"))
    return f"{command[:at]} \\\n  {command[at + 1 :]}"


def _examples(seeded: Seeded) -> list[tuple[str, list[str]]]:
    """Return commands to try, by what they are for."""
    primary, tables = seeded.primary, f"{seeded.primary} {seeded.replica}"
    key, bucket = seeded.drift.example_key, f"s3://{seeded.bucket}"
    return [
        ("Compare, and repair", [
            f"asyncrep diff-tables {tables}",
            f"asyncrep diff-tables {tables} --output drift.jsonl --json",
            f"asyncrep diff-record {tables} '{key}'",
            f"asyncrep explain {tables} '{key}'",
            f"asyncrep diff-tables {tables} --segments {SEGMENTS} --repair",
            f"asyncrep diff-tables {tables} --quiet && echo The replica is right",
        ]),
        ("Back up, and restore", [
            f"asyncrep backup-table {primary} {bucket}/dumps --jobid first",
            f"asyncrep backups verify {bucket}/dumps",
            f"asyncrep diff-backup {bucket}/dumps/first {seeded.replica}",
            f"asyncrep restore {bucket}/dumps/first {primary}-2 --create",
            f"asyncrep backups prune {bucket}/dumps --keep-daily 7",
        ]),
        ("Follow the stream, into the replica and into a backup of every change", [
            f"asyncrep replicate {tables}",
            f"asyncrep replicate {primary} {bucket}/incr --bootstrap",
            f"asyncrep incremental-record-history {primary} {bucket}/incr '{key}'",
        ]),
    ]  # fmt: skip
