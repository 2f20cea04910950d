"""Finds jobs, tells how far each is, and removes them; none is worked on here."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from asyncrep.errors import UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.jobs.place import job_place, jobs_folder
from asyncrep.jobs.state import parse_state
from asyncrep.jobs.store import STATE_NAME, Contents, FolderStore, S3Store, is_worked_on, open_job_store
from asyncrep.location import S3Place, parse_storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from asyncrep.flow.clock import Clock
    from asyncrep.jobs.state import State
    from asyncrep.jobs.store import JobStore
    from asyncrep.model import Side
    from asyncrep.options import S3Access

_WALK = "diff-tables"
_TASKS = {"backup-table": "backup"}
"""What a job does, by its command, where it is not called like that."""
_ONE_SIDED = frozenset({"backfill", "incremental-backfill"})

Status = Literal["running", "interrupted", "done", "damaged", "removed"]

_SILENCE = timedelta(minutes=2)
"""A run elsewhere that has not saved for so long has ended without a word."""

_NOTHING = Contents([], {}, [])


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as it was found.

    Attributes:
        name: what it was asked for by, or its name in the state folder.
        place: where it is kept.
        status: how it is. Of a job in S3 that runs elsewhere it is known only by what it saved lately.
        state: what is kept of it; None for one that is damaged or removed.
        problem: why it cannot be read.
        contents: what is in its place.
    """

    name: str
    place: Path | S3Place
    status: Status
    contents: Contents
    state: State | None = None
    problem: str | None = None

    @property
    def journals(self) -> list[str]:
        """The journals in its own place, as ``undo`` takes them."""
        return [
            str(S3Place(self.place.bucket, self.place.under(name)))
            if isinstance(self.place, S3Place)
            else str(self.place.absolute() / name)
            for name in self.contents.journals
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return what ``jobs list --json`` prints of it."""
        told = {"name": self.name, "place": str(self.place), "state": self.status, "problem": self.problem}
        return told if self.state is None else told | _summary(self.state)


def command_of(options: Mapping[str, Any]) -> str:
    """Return the command that a job with these options belongs to; only ``diff-tables`` leaves it out."""
    return str(options.get("COMMAND") or _WALK)


def arguments_of(options: Mapping[str, Any]) -> list[str]:
    """Return what the command was told without naming an option, in order: from where, and to where."""
    return [str(value) for name, value in options.items() if name.isupper() and name != "COMMAND"]


def task_of(options: Mapping[str, Any]) -> str:
    """Return what a job with these options does: check, repair, backfill, backup, or its command's name."""
    command = command_of(options)
    if command != _WALK:
        return _TASKS.get(command, command)
    if options.get("--backfill"):
        return "backfill"
    return "repair" if options.get("--repair") else "check"


def writes(options: Mapping[str, Any]) -> bool:
    """Tell whether a job with these options writes to the replica."""
    return bool(options.get("--repair")) and not options.get("--dry-run")


def sides_of(options: Mapping[str, Any]) -> tuple[Side, ...]:
    """Return the sides that a job with these options walks: what is only filled is not."""
    return ("primary",) if task_of(options) in _ONE_SIDED else ("primary", "replica")


def segments_done(state: State) -> int:
    """Return how many of its segments a job has walked to their ends, on every side that it walks."""
    mark = state.mark
    if mark is None:
        return int((state.work or {}).get("segments_done", 0))
    if state.done:
        return len(mark.segments)
    sides = sides_of(state.options)
    return sum(all(mark.at(side, index).ended for side in sides) for index in mark.segments)


def journal_of(state: State) -> str | None:
    """Return where a job's writes are noted; None as long as nothing was."""
    if state.journal is None:
        return None
    noted = state.mark is not None and any(state.mark.writes.values())
    where = parse_storage(state.journal)
    return state.journal if noted or (isinstance(where, Path) and where.exists()) else None


def _summary(state: State) -> dict[str, Any]:
    counts = state.mark.counts if state.mark else {}
    work = state.work or {}
    source, destination = (*arguments_of(state.options), None, None)[:2]
    return {
        "source": source,
        "destination": destination,
        "primary": state.options.get("PRIMARY"),
        "replica": state.options.get("REPLICA"),
        "task": task_of(state.options),
        "writes": writes(state.options),
        "segments_done": segments_done(state),
        "segments": len(state.mark.segments) if state.mark else work.get("segments"),
        "scanned": counts.get("scanned_primary", 0) + counts.get("scanned_replica", 0) + work.get("items", 0),
        "discrepancies": sum(counts.get(kind, 0) for kind in ("missing", "different", "extraneous")),
        "begun": state.begun,
        "saved": state.saved,
        "runs": state.runs,
    }


async def known_jobs() -> list[Seen]:
    """Return all jobs in the state folder, the one that was saved last first; damaged ones at the end.

    Raises:
        UsageError: the folder cannot be read.
    """
    folder = jobs_folder()
    seen = [await _seen_in_folder(name, folder / name) for name in _names(folder)]
    found = [each for each in seen if each is not None]
    found.sort(key=lambda each: each.state.saved if each.state else "", reverse=True)
    return found


def _names(folder: Path) -> list[str]:
    try:
        return sorted(each.name for each in folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"The jobs in {folder} cannot be read: {error.strerror}.") from error


async def _seen_in_folder(name: str, folder: Path) -> Seen | None:
    """Return what is known of one entry of the state folder; None for a folder in which nothing is."""
    store = FolderStore(folder)
    try:
        return await _seen(name, folder, store)
    except UsageError as error:
        return Seen(name, folder, "damaged", await _contents(store), problem=str(error))


async def _contents(store: JobStore) -> Contents:
    try:
        return await store.contents()
    except UsageError:
        return _NOTHING


async def look_at(name: str, access: S3Access | None = None) -> Seen:
    """Return what is known of the job that is called ``name``: a name, a path or a place in S3.

    ``access`` is how S3 is reached.

    Raises:
        UsageError: there is none, or it cannot be read.
        ServiceError: S3 could not be asked.
    """
    place = job_place(name)
    assert place is not None
    if isinstance(place, S3Place):
        from asyncrep.aws.objects import open_objects  # noqa: PLC0415

        async with open_objects(place, access=access) as objects:
            seen = await _seen(name, place, S3Store(objects, secrets.token_hex(8)))
    else:
        seen = await _seen(name, place, FolderStore(place)) if _is_folder(place) else None
    if seen is None:
        raise UsageError(f"There is no job in {place}.")
    return seen


def _is_folder(place: Path) -> bool:
    """Tell whether there is such a folder.

    Raises:
        UsageError: there cannot be, or it may not be looked at.
    """
    try:
        return place.is_dir()
    except OSError as error:
        raise UsageError(f"The job in {place} cannot be read: {error.strerror}.") from error


async def _seen(name: str, place: Path | S3Place, store: JobStore) -> Seen | None:
    state = parse_state(await store.read(STATE_NAME), store.name)
    contents = await store.contents()
    if state is None:
        if contents.journals:
            return Seen(name, place, "removed", contents)
        if contents.others and not isinstance(place, S3Place):
            raise UsageError(f"{store.name} holds no job.")
        return None
    return Seen(name, place, _status(state, place, SystemClock()), contents, state)


def _status(state: State, place: Path | S3Place, clock: Clock) -> Status:
    if is_worked_on(place):
        return "running"
    if state.done:
        return "done"
    silent = datetime.fromtimestamp(clock.now(), UTC) - saved_at(state)
    if isinstance(place, S3Place) and state.working and silent < _SILENCE:
        return "running"
    return "interrupted"


def saved_at(state: State) -> datetime:
    """Return when a job was saved last; long ago, if it does not say."""
    try:
        saved = datetime.fromisoformat(state.saved)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return saved if saved.tzinfo else saved.replace(tzinfo=UTC)


async def check_removable(name: str, access: S3Access | None = None) -> Seen:
    """Return a job that may be removed: nobody works on it. ``access`` is how S3 is reached.

    One in the state folder may be damaged; elsewhere what is not a job is none of ours.

    Raises:
        UsageError: there is none, or another process works on it.
        ServiceError: S3 could not be asked.
    """
    place = job_place(name)
    if isinstance(place, Path) and place.parent == jobs_folder() and _is_folder(place):
        seen = await _seen_in_folder(name, place) or Seen(name, place, "removed", _NOTHING)
    else:
        seen = await look_at(name, access)
    if seen.status == "running":
        raise UsageError(f"Another process is working on the job in {seen.place}.")
    return seen


async def remove(seen: Seen, *, with_journal: bool = False, access: S3Access | None = None) -> None:
    """Remove what belongs to a job, the state first; its journals only if asked to, anything else never.

    ``access`` is how S3 is reached.

    Raises:
        UsageError: another process works on it.
        AsyncrepError: it could not be removed.
    """
    async with open_job_store(seen.place, secrets.token_hex(8), access) as store:
        contents = await store.contents()
        names = list(contents.documents)
        if with_journal:
            names += _parts(contents)
        await store.remove(names)


def _parts(contents: Contents) -> Iterator[str]:
    for parts in contents.journals.values():
        yield from parts
