"""Groups of options that several commands share, as frozen dataclasses."""

from __future__ import annotations

import inspect
import os
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_type_hints

import typer

from asyncrep.cli.common_options import OUTPUT, Json, OneSegment, Quiet, Segments, Verbose
from asyncrep.cli.limits import PACE, LimitOptions
from asyncrep.errors import UsageError
from asyncrep.model import Segment
from asyncrep.options import Comparison, Sample, check_strategy

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncrep.options import Limits, Strategy
    from asyncrep.repair.rules import Rules

_TABLES = "Tables"
_COMPARING = "Comparing"
_REPAIRING = "Repairing"


def paragraphs(text: str) -> str:
    """Join the lines of each paragraph of a help text, so that the terminal's width breaks them."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))


def spread_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let Typer see the fields of a command's option groups as options of the command itself.

    A parameter whose annotation is one of the dataclasses below is replaced by that dataclass's fields;
    the command gets the dataclass, filled in.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += _parameters_of(groups[name])
        else:
            # Typer calls by keyword; and only so may parameters without default follow ones with.
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[name]))

    def spread(**given: Any) -> None:
        filled = {
            name: group(**{entry.name: given.pop(entry.name) for entry in fields(group)})
            for name, group in groups.items()
        }
        command(**given, **filled)

    spread.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # read by inspect
    spread.__doc__ = command.__doc__
    spread.__name__ = command.__name__
    return spread


def _parameters_of(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            entry.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=entry.default_factory() if entry.default_factory is not MISSING else entry.default,
            annotation=hints[entry.name],
        )
        for entry in fields(group)
    ]


@dataclass(frozen=True, slots=True)
class PlaceOptions:
    """How to reach the two tables."""

    pair: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The pair of asyncrep.toml that is meant.", rich_help_panel=_TABLES
        ),
    ] = None
    endpoint_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Endpoint of both tables.", rich_help_panel=_TABLES)
    ] = None
    primary_endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Endpoint of the primary.", rich_help_panel=_TABLES)
    ] = None
    replica_endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Endpoint of the replica.", rich_help_panel=_TABLES)
    ] = None
    primary_profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="AWS profile for the primary.", rich_help_panel=_TABLES)
    ] = None
    replica_profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="AWS profile for the replica.", rich_help_panel=_TABLES)
    ] = None
    primary_role_arn: Annotated[
        str | None,
        typer.Option(metavar="ARN", help="Role to assume for the primary.", rich_help_panel=_TABLES),
    ] = None
    replica_role_arn: Annotated[
        str | None,
        typer.Option(metavar="ARN", help="Role to assume for the replica.", rich_help_panel=_TABLES),
    ] = None


@dataclass(frozen=True, slots=True)
class PaceOptions(LimitOptions):
    """How hard to push, and on which part of the tables."""

    segments: Segments = None
    segment: OneSegment = None
    strategy: Annotated[
        str,
        typer.Option(
            metavar="auto|dual-scan|batch-get",
            help="How both tables are walked. [dim]auto: what takes fewer units.[/dim]",
            rich_help_panel=PACE,
        ),
    ] = "auto"
    processes: Annotated[
        str,
        typer.Option(metavar="N|auto", help="Spread the segments over N processes.", rich_help_panel=PACE),
    ] = "1"
    sample: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Look at a random share of the tables only, as 0.01; says what that proves.",
            rich_help_panel=PACE,
        ),
    ] = None

    def limits(self) -> Limits:
        """Return the limits.

        Raises:
            UsageError: one of them is zero or below, or a share above 100 percent.
        """
        return replace(LimitOptions.limits(self), segments=self.segments)

    def chosen_sample(self) -> Sample | None:
        """Return the sample that is to be taken, None for all.

        Raises:
            UsageError: there is no such share, or a single segment is meant as well.
        """
        if self.sample is None:
            return None
        if self.segment is not None:
            raise UsageError("--sample chooses the segments itself: it does not go with --segment.")
        return Sample(self.sample)

    def number_of_processes(self) -> int:
        """Return how many processes are to work; ``auto`` is one for each core.

        Raises:
            UsageError: it is neither ``auto`` nor a number above zero.
        """
        if self.processes == "auto" and self.segment is not None:
            return 1  # one segment cannot be spread
        if self.processes == "auto":
            return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if not self.processes.isdecimal() or not int(self.processes):
            raise UsageError(f'Processes must be a number above zero or auto, not "{self.processes}".')
        return int(self.processes)

    def chosen_strategy(self) -> Strategy:
        """Return the strategy.

        Raises:
            UsageError: there is none of that name.
        """
        check_strategy(self.strategy)
        return cast("Strategy", self.strategy)

    def one_segment(self) -> Segment | None:
        """Return the single segment that is meant, None for the whole table.

        Raises:
            UsageError: there is no such segment, or --segments is missing.
        """
        if self.segment is None:
            return None
        if self.segments is None:
            raise UsageError(
                f"--segment {self.segment} needs --segments N: segment {self.segment} of how many?"
            )
        return Segment(self.segment, self.segments)


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """When two items count as the same."""

    ignore_attribute: Annotated[
        list[str],
        typer.Option(
            metavar="NAME",
            help="Do not compare this attribute; repeatable. aws:rep:* never are.",
            rich_help_panel=_COMPARING,
        ),
    ] = field(default_factory=list)
    settle: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Time a lagging replica gets before it is read again.",
            rich_help_panel=_COMPARING,
        ),
    ] = 1.0

    def comparison(self) -> Comparison:
        """Return when items count as the same.

        Raises:
            UsageError: the time to settle is negative.
        """
        return Comparison(ignore=frozenset(self.ignore_attribute), settle=self.settle)


# What several commands may be told about writing.
NoDelete = Annotated[
    bool, typer.Option("--no-delete", help="Keep what only the replica has.", rich_help_panel=_REPAIRING)
]
MaxDelete = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Delete N items at most. Needed to delete more than half of the replica.",
        rich_help_panel=_REPAIRING,
    ),
]
ForceGlobalTable = Annotated[
    bool,
    typer.Option(
        "--force-global-table",
        help="Write even to a member of a global table.",
        rich_help_panel=_REPAIRING,
    ),
]
JournalPlace = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|s3://…",
        help="Note every write here, for asyncrep undo. [dim]Default: a file in the state folder.[/dim]",
        rich_help_panel=_REPAIRING,
    ),
]


@dataclass(frozen=True, slots=True)
class RepairOptions:
    """What may be written to the replica; nothing, unless --repair is given."""

    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Bring the replica in line with the primary.", rich_help_panel=_REPAIRING
        ),
    ] = False
    backfill: Annotated[
        bool,
        typer.Option(
            "--backfill",
            help="Only copy what the replica has not; with --repair, else count.",
            rich_help_panel=_REPAIRING,
        ),
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="With --repair: write nothing, report all.", rich_help_panel=_REPAIRING
        ),
    ] = False
    no_delete: NoDelete = False
    max_delete: MaxDelete = None
    force_global_table: ForceGlobalTable = False
    journal: JournalPlace = None

    def rules(self) -> Rules:
        """Return what the run may write: nothing without --repair."""
        from asyncrep.repair.rules import Rules  # noqa: PLC0415 - commands start without what they may not need

        return Rules(
            delete_extraneous=not self.no_delete,
            max_delete=self.max_delete,
            dry_run=self.dry_run or not self.repair,
            force=self.force_global_table,
        )


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What is told, and where."""

    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE|-", help="Discrepancies as JSON lines.", rich_help_panel=OUTPUT),
    ] = None
    combined: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|-",
            help="One sigil and key a line: [bold]+[/bold] only in the primary, [bold]-[/bold] only in the replica, "
            "[bold]*[/bold] different, [bold]![/bold] failed.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    json: Json = False
    quiet: Quiet = False
    verbose: Verbose = False

    def check_files(self) -> None:
        """Refuse two results on one stdout or in one file.

        Raises:
            UsageError: more than one of --output, --combined and --json wants it.
        """
        claims = {
            "--output -": self.output == Path("-"),
            "--combined -": self.combined == Path("-"),
            "--json": self.json,
        }
        wanting = [option for option, wants in claims.items() if wants]
        if len(wanting) > 1:
            raise UsageError(f"Only one of {' and '.join(wanting)} can have stdout.")
        if self.output and self.combined and self.output.resolve() == self.combined.resolve():
            raise UsageError(f"--output and --combined cannot both be written to {self.output}.")

    @property
    def stdout_is_taken(self) -> bool:
        """Whether stdout holds results for programs, so that the summary for people goes to stderr."""
        return self.json or Path("-") in {self.output, self.combined}


@dataclass(frozen=True, slots=True)
class MessageOptions:
    """How much is told, for commands about one record."""

    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Only the exit code.", rich_help_panel=OUTPUT)
    ] = False
    verbose: Verbose = False


@dataclass(frozen=True, slots=True)
class SummaryOptions:
    """How much is told, for commands whose only result is a summary."""

    json: Json = False
    quiet: Quiet = False
    verbose: Verbose = False
