"""Options of ``replicate``: what is followed, how changes are applied, and where is told how it goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from asyncrep.errors import UsageError
from asyncrep.options import Following, Guard, Limits

if TYPE_CHECKING:
    from asyncrep.replicate.selection import Selection

_TASK = "Task"
_STARTING = "Starting"
_APPLYING = "Applying"
_SELECTING = "Selecting"
_PACE = "Pace"
_TELLING = "Telling"


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """Which workers work together, and on what."""

    task_name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Workers with the same name share the work. [dim]Default: made of the tables' names.[/dim]",
            rich_help_panel=_TASK,
        ),
    ] = None
    failover: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Take over the shards of a worker that gives no sign of life for so long.",
            rich_help_panel=_TASK,
        ),
    ] = 60.0
    lease_table_region: Annotated[
        str | None,
        typer.Option(
            metavar="REGION",
            help="Where the lease table is. [dim]Default: the source's Region.[/dim]",
            rich_help_panel=_TASK,
        ),
    ] = None
    lease_table_endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Endpoint of the lease table.", rich_help_panel=_TASK),
    ] = None
    streams_endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Endpoint of the stream.", rich_help_panel=_TASK)
    ] = None
    status: Annotated[
        bool,
        typer.Option("--status", help="Only show the task's leases, owners and lag.", rich_help_panel=_TASK),
    ] = False


@dataclass(frozen=True, slots=True)
class StartOptions:
    """Where a task begins."""

    start: Annotated[
        str,
        typer.Option(
            metavar="trim-horizon|latest",
            help="Where a new task begins: with the oldest records there are, or with those to come.",
            rich_help_panel=_STARTING,
        ),
    ] = "trim-horizon"
    bootstrap: Annotated[
        bool,
        typer.Option(
            "--bootstrap",
            help="Fill the destinations first, and follow from before that.",
            rich_help_panel=_STARTING,
        ),
    ] = False
    restart: Annotated[
        bool,
        typer.Option(
            "--restart", help="Forget the task's checkpoints, after asking.", rich_help_panel=_STARTING
        ),
    ] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", rich_help_panel=_STARTING)] = False


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How changes are applied."""

    guard: Annotated[
        str,
        typer.Option(
            metavar="none|sequence|version",
            help="Of tables. none: the destination has no other writer. sequence: nor can a late or repeated record turn it "
            "back. version: two-way; the higher version wins.",
            rich_help_panel=_APPLYING,
        ),
    ] = "none"
    version_attribute: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="With --guard version: what holds the version.", rich_help_panel=_APPLYING
        ),
    ] = "version"
    guard_table: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The guards' side table, in each destination's Region and account; made if it is not there.",
            rich_help_panel=_APPLYING,
        ),
    ] = "asyncrep-guard"
    dead_letter: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URL|s3://…",
            help="Where records go that can never be applied: a file, an SQS queue, S3. "
            "[dim]Without one such a record holds its shard.[/dim]",
            rich_help_panel=_APPLYING,
        ),
    ] = None
    force_global_table: Annotated[
        bool,
        typer.Option(
            "--force-global-table",
            help="Write even to a member of the source's global table.",
            rich_help_panel=_APPLYING,
        ),
    ] = False

    def chosen_guard(self) -> Guard:
        """Return the guard.

        Raises:
            UsageError: there is none of that name.
        """
        names = get_args(Guard)
        if self.guard not in names:
            raise UsageError(f'There is no guard "{self.guard}"; it is one of {", ".join(names)}.')
        return cast("Guard", self.guard)


@dataclass(frozen=True, slots=True)
class SelectOptions:
    """What is replicated."""

    where: Annotated[
        list[str],
        typer.Option(
            metavar="CONDITION",
            help="Only items that meet it, as status=active, n>=5, flag or !flag; repeatable.",
            rich_help_panel=_SELECTING,
        ),
    ] = field(default_factory=list)
    event: Annotated[
        list[str],
        typer.Option(
            metavar="INSERT|MODIFY|REMOVE",
            help="Only changes of this kind; repeatable.",
            rich_help_panel=_SELECTING,
        ),
    ] = field(default_factory=list)
    no_ttl_deletes: Annotated[
        bool,
        typer.Option(
            "--no-ttl-deletes",
            help="Keep at the destination what TTL deletes at the source.",
            rich_help_panel=_SELECTING,
        ),
    ] = False
    attribute: Annotated[
        list[str],
        typer.Option(
            metavar="NAME",
            help="Copy only this attribute and the key; repeatable.",
            rich_help_panel=_SELECTING,
        ),
    ] = field(default_factory=list)
    without_attribute: Annotated[
        list[str],
        typer.Option(
            metavar="NAME", help="Do not copy this attribute; repeatable.", rich_help_panel=_SELECTING
        ),
    ] = field(default_factory=list)
    rename: Annotated[
        list[str],
        typer.Option(
            metavar="OLD=NEW",
            help="Call an attribute otherwise at the destination; repeatable.",
            rich_help_panel=_SELECTING,
        ),
    ] = field(default_factory=list)

    def selection(self) -> Selection:
        """Return what is replicated.

        Raises:
            UsageError: one of the options is malformed, or contradicts another.
        """
        from asyncrep.replicate.selection import Selection  # noqa: PLC0415 - only where something is replicated

        return Selection.from_texts(
            where=self.where,
            events=self.event,
            ttl_deletes=not self.no_ttl_deletes,
            attributes=self.attribute,
            without=self.without_attribute,
            rename=self.rename,
        )


@dataclass(frozen=True, slots=True)
class FollowPaceOptions:
    """How hard to push."""

    batch_size: Annotated[
        int, typer.Option(metavar="N", help="Records read and applied at once.", rich_help_panel=_PACE)
    ] = 1000
    poll: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="Wait so long when there is nothing to read.", rich_help_panel=_PACE
        ),
    ] = 1.0
    concurrency: Annotated[
        int,
        typer.Option(metavar="N", help="Writes under way at once, each table.", rich_help_panel=_PACE),
    ] = 32
    write_units: Annotated[
        float | None,
        typer.Option(
            metavar="UNITS",
            help="Write units per second, at most, of each table.",
            rich_help_panel=_PACE,
        ),
    ] = None
    read_units: Annotated[
        float | None,
        typer.Option(
            metavar="UNITS",
            help="With --bootstrap: read units per second of the source, at most.",
            rich_help_panel=_PACE,
        ),
    ] = None

    def limits(self) -> Limits:
        """Return the limits.

        Raises:
            UsageError: one of them is zero or below.
        """
        return Limits(concurrency=self.concurrency, write_units=self.write_units, read_units=self.read_units)

    def following(self, start: StartOptions, task: TaskOptions) -> Following:
        """Return how the stream is followed.

        Raises:
            UsageError: one of the options is out of its range.
        """
        return Following(
            begin=cast("Any", start.start),
            batch_size=self.batch_size,
            poll=self.poll,
            failover=task.failover,
        )


@dataclass(frozen=True, slots=True)
class TellOptions:
    """Where is told how it goes."""

    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAMESPACE",
            help="Publish RecordsWritten, RecordsRetried, RecordsFailed and MillisBehindLatest in CloudWatch.",
            rich_help_panel=_TELLING,
        ),
    ] = None
    health_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep a file of JSON that says whether all is well.",
            rich_help_panel=_TELLING,
        ),
    ] = None
    health_port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT", help="Answer GET /healthz on this port of 127.0.0.1.", rich_help_panel=_TELLING
        ),
    ] = None
    json: Annotated[
        bool,
        typer.Option("--json", help="With --status: one JSON object on stdout.", rich_help_panel=_TELLING),
    ] = False
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Only warnings and errors.", rich_help_panel=_TELLING)
    ] = False
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show tracebacks of errors.", rich_help_panel=_TELLING)
    ] = False
