"""``backups``: list, verify and prune the backups that lie under a place."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asyncrep.cli.options import paragraphs, spread_options
from asyncrep.cli.runtime import AGREE, DISCREPANCIES, FAILED, exit_codes, run_async
from asyncrep.cli.storage_options import S3Options
from asyncrep.errors import UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.location import parse_storage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from asyncrep.backup.listed import Listed
    from asyncrep.backup.prune import Pruned
    from asyncrep.backup.retention import Rules, Verdict
    from asyncrep.backup.verify import Verified
    from asyncrep.storage import Storage

HELP = """
List, verify and prune the backups that lie under a place: dumps of [bold]backup-table[/bold], snapshots of
incremental folders, and exports.

PLACE is s3://BUCKET/PREFIX or a path, what [bold]backup-table[/bold] was given.
"""
EPILOG = """
[bold]Examples[/bold]

  asyncrep backups list s3://my-bucket/orders

  asyncrep backups verify s3://my-bucket/orders --newest

  asyncrep backups prune s3://my-bucket/orders --keep-daily 7 --keep-weekly 4
"""
LIST_HELP = """
List the backups under PLACE: of what, from when, how large, and whether they are whole.

Listings and manifests are read, no data. A backup is [bold]whole[/bold] when every object is there that its manifest
names, of the size it says; [bold]verified[/bold] when [bold]backups verify[/bold] has read all of them and none was
replaced since.
"""
LIST_EPILOG = """
[bold]Examples[/bold]

  asyncrep backups list s3://my-bucket/orders

  asyncrep backups list ./backups --json
"""
VERIFY_HELP = """
Read backups and hold every object against its manifest, without restoring anything: size, SHA-256, gzip, items.
Without NAME, all that lie under PLACE.

What came of it is kept beside each backup. A backup that is still being written is passed over unless it is named.
"""
VERIFY_EPILOG = """
[bold]Examples[/bold]

  asyncrep backups verify s3://my-bucket/orders

  asyncrep backups verify s3://my-bucket/orders 20260102T030405Z-1a2b3c --json

[bold]Exit codes[/bold]

    0  all are as their manifests say

    1  something is damaged or missing

    2  wrong usage: no such backup

    3  something could not be checked: it could not be read, or has no manifest
"""
PRUNE_HELP = """
Remove backups that no rule keeps. Without --yes nothing is removed: what would go and what would stay is shown.

A rule keeps the newest backup of each of the last N days, weeks or months that have any (UTC; weeks begin on
Monday), for each table by itself. The newest verified backup always stays; so do exports of AWS, incremental folders, dumps
without a manifest, and all objects that do not belong to a backup. In a bucket that keeps versions the removed ones
are kept as versions, until its lifecycle rules remove those.
"""
PRUNE_EPILOG = """
[bold]Examples[/bold]

  asyncrep backups prune s3://my-bucket/orders --keep-daily 7 --keep-weekly 4

  asyncrep backups prune s3://my-bucket/orders --keep-last 10 --incomplete --yes
"""

app = typer.Typer(
    rich_markup_mode="rich",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)

_KEEPING = "Keeping"

Place = Annotated[
    str, typer.Argument(metavar="PLACE", help="s3://BUCKET/PREFIX or a path.", show_default=False)
]
_Names = Annotated[
    list[str] | None, typer.Argument(metavar="NAME …", help="Only these backups.", show_default=False)
]
_Json = Annotated[bool, typer.Option("--json", help="As one JSON object on stdout.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, notes or summary.")]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks of errors.")]


def _keep(what: str) -> object:
    return typer.Option(metavar="N", help=what, rich_help_panel=_KEEPING, show_default=False)


@dataclass(frozen=True, slots=True)
class KeepOptions:
    """What is to be kept."""

    keep_last: Annotated[int, _keep("The last N backups.")] = 0
    keep_daily: Annotated[int, _keep("One for each of the last N days with backups.")] = 0
    keep_weekly: Annotated[int, _keep("One for each of the last N weeks with backups.")] = 0
    keep_monthly: Annotated[int, _keep("One for each of the last N months with backups.")] = 0
    incomplete: Annotated[
        bool,
        typer.Option(
            "--incomplete",
            help="Incomplete and damaged ones may go, too: once nothing was written to them for a day, and a newer "
            "one is whole.",
            rich_help_panel=_KEEPING,
        ),
    ] = False

    def rules(self) -> Rules:
        """Return the rules.

        Raises:
            UsageError: nothing is said, or a count is negative.
        """
        from asyncrep.backup.retention import Rules  # noqa: PLC0415 - commands start without what they may not need

        return Rules(
            self.keep_last, self.keep_daily, self.keep_weekly, self.keep_monthly, incomplete=self.incomplete
        )


# ── list ────────────────────────────────────────────────────────────────────────────────────────────


@app.command(
    "list", help=paragraphs(LIST_HELP), short_help="List backups, and how they look.", epilog=LIST_EPILOG
)
@spread_options
def list_backups(place: Place, s3: S3Options, *, json: _Json = False, verbose: _Verbose = False) -> None:
    """List backups."""
    with exit_codes(verbose=verbose):
        label, found = run_async(_find(place, s3))
        if json:
            from asyncrep.cli.output import print_json  # noqa: PLC0415 - people read no JSON

            print_json({"place": label, "backups": [each.as_dict() for each in found]})
            return
        from asyncrep.cli.backups_view import show_backups  # noqa: PLC0415
        from asyncrep.cli.render import result_console  # noqa: PLC0415

        show_backups(result_console(), label, found)


async def _find(place: str, s3: S3Options) -> tuple[str, list[Listed]]:
    from asyncrep.backup.catalog import find_backups  # noqa: PLC0415 - as above

    async with _opened(place, s3) as storage:
        return storage.label, await find_backups(storage)


@asynccontextmanager
async def _opened(place: str, s3: S3Options) -> AsyncIterator[Storage]:
    """Open a place, and make sure that it is one."""
    from asyncrep.backup.places import open_storage  # noqa: PLC0415 - as above

    s3.check_used(place)
    where = parse_storage(place)
    if isinstance(where, Path) and where.is_file():
        raise UsageError(
            f"{place} is a file: name the place that it lies in, as {where.parent}, and then {where.name}."
        )
    async with open_storage(where, s3.access()) as storage:
        await storage.check()
        yield storage


# ── verify ──────────────────────────────────────────────────────────────────────────────────────────


@app.command(
    "verify",
    help=paragraphs(VERIFY_HELP),
    short_help="Hold backups against their manifests.",
    epilog=VERIFY_EPILOG,
)
@spread_options
def verify_backups(
    place: Place,
    s3: S3Options,
    names: _Names = None,
    *,
    newest: Annotated[
        bool, typer.Option("--newest", help="Only the newest backup of each table that looks whole.")
    ] = False,
    json: _Json = False,
    quiet: _Quiet = False,
    verbose: _Verbose = False,
) -> None:
    """Verify backups."""
    with exit_codes(verbose=verbose):
        if names and newest:
            raise UsageError("--newest chooses the backups itself: name none.")
        label, found = run_async(_verify(place, s3, names or [], newest=newest, quiet=quiet))
        if json:
            from asyncrep.cli.output import print_json  # noqa: PLC0415 - as above

            print_json(_told(label, found))
        elif not quiet:
            from asyncrep.cli.backups_view import show_verified  # noqa: PLC0415
            from asyncrep.cli.render import result_console  # noqa: PLC0415

            show_verified(result_console(), label, found)
        raise typer.Exit(_verify_code(found))


async def _verify(
    place: str, s3: S3Options, names: Sequence[str], *, newest: bool, quiet: bool
) -> tuple[str, list[Verified]]:
    from asyncrep.backup.catalog import find_backups  # noqa: PLC0415 - as above
    from asyncrep.backup.chosen import named, newest_of, under_way  # noqa: PLC0415
    from asyncrep.backup.verify import verify  # noqa: PLC0415
    from asyncrep.cli.bars import progress  # noqa: PLC0415
    from asyncrep.cli.render import message_console  # noqa: PLC0415
    from asyncrep.progress import Note  # noqa: PLC0415

    clock = SystemClock()
    async with _opened(place, s3) as storage:
        found = await find_backups(storage)
        fresh: list[Listed] = []
        if names:
            chosen = named(found, names, storage.label)
        elif newest:
            chosen = newest_of(found)
        else:
            fresh = under_way(found, _now())
            chosen = [each for each in found if each.kind != "folder" and each not in fresh]
        with progress(message_console(), quiet=quiet) as observer:
            for each in fresh:
                observer.notice(Note(f"{each.label} is passed over: it may still be written."))
            if not chosen:
                raise UsageError(f"There is no backup to verify in {storage.label}.")
            return storage.label, await verify(storage, chosen, observer=observer, clock=clock)


def _now() -> datetime:
    return datetime.fromtimestamp(SystemClock().now(), UTC)


def _told(label: str, found: Sequence[Verified]) -> dict[str, object]:
    outcomes = [each.outcome for each in found]
    return {
        "place": label,
        **{name: outcomes.count(name) for name in ("sound", "damaged", "unproven", "failed")},
        "items": sum(each.items for each in found),
        "stored_bytes": sum(each.stored_bytes for each in found),
        "complete": not {"unproven", "failed"} & set(outcomes),
        "backups": [each.as_dict() for each in found],
    }


def _verify_code(found: Sequence[Verified]) -> int:
    """Return the exit code; a damage that was found counts for more than what could not be checked."""
    outcomes = {each.outcome for each in found}
    if "damaged" in outcomes:
        return DISCREPANCIES
    return FAILED if {"unproven", "failed"} & outcomes else AGREE


# ── prune ───────────────────────────────────────────────────────────────────────────────────────────


@app.command(
    "prune",
    help=paragraphs(PRUNE_HELP),
    short_help="Remove backups that no rule keeps.",
    epilog=PRUNE_EPILOG,
)
@spread_options
def prune_backups(
    place: Place,
    keeping: KeepOptions,
    s3: S3Options,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove them; without, only show what would go.")
    ] = False,
    json: _Json = False,
    quiet: _Quiet = False,
    verbose: _Verbose = False,
) -> None:
    """Prune backups."""
    with exit_codes(verbose=verbose):
        pruning = _Pruning(keeping.rules(), yes=yes, shown=None if json or quiet else _show)
        run_async(pruning.run(place, s3))
        if json:
            from asyncrep.cli.output import print_json  # noqa: PLC0415 - as above

            print_json(pruning.as_dict())
        elif not quiet:
            from asyncrep.cli.backups_view import show_pruned  # noqa: PLC0415
            from asyncrep.cli.render import result_console  # noqa: PLC0415

            show_pruned(result_console(), pruning.verdicts, pruning.removed)


class _Pruning:
    """One run of ``backups prune``.

    Attributes:
        label: the place, as people call it.
        verdicts: what becomes of each backup.
        removed: what was removed; None without --yes.
    """

    def __init__(
        self, rules: Rules, *, yes: bool, shown: Callable[[str, Sequence[Verdict]], None] | None
    ) -> None:
        self.label = ""
        self.verdicts: list[Verdict] = []
        self.removed: Pruned | None = None
        self._rules = rules
        self._yes = yes
        self._shown = shown

    async def run(self, place: str, s3: S3Options) -> None:
        """Decide and show, and with --yes remove."""
        from asyncrep.backup.catalog import find_backups  # noqa: PLC0415 - as above
        from asyncrep.backup.prune import remove_backups  # noqa: PLC0415
        from asyncrep.backup.retention import decide  # noqa: PLC0415

        async with _opened(place, s3) as storage:
            self.label = storage.label
            self.verdicts = decide(await find_backups(storage), self._rules, _now())
            if self._shown is not None:
                self._shown(self.label, self.verdicts)
            if self._yes:
                going = [each.backup for each in self.verdicts if not each.keeps]
                self.removed = await remove_backups(storage, going, clock=SystemClock())

    def as_dict(self) -> dict[str, object]:
        """Return what ``--json`` prints."""
        going = [each.backup for each in self.verdicts if not each.keeps]
        return {
            "place": self.label,
            "dry_run": self.removed is None,
            "kept": len(self.verdicts) - len(going),
            "removed": len(going),
            "stored_bytes": sum(each.stored_bytes for each in going),
            "backups": [
                each.backup.as_dict() | {"keeps": each.keeps, "reasons": each.reasons}
                for each in self.verdicts
            ],
        }


def _show(label: str, verdicts: Sequence[Verdict]) -> None:
    from asyncrep.cli.backups_view import show_verdicts  # noqa: PLC0415 - rich, only when it is needed
    from asyncrep.cli.render import result_console  # noqa: PLC0415

    show_verdicts(result_console(), label, verdicts)
