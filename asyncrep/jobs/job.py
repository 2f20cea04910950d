"""A job: a run that several processes, one after the other, bring to its end."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from asyncrep.errors import AsyncrepError, ConditionFailedError, JobError, UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.jobs.entries import timestamp
from asyncrep.jobs.state import State, parse_state, spelled, state_bytes
from asyncrep.jobs.store import STATE_NAME, open_job_store
from asyncrep.jobs.unsaid import unsaid_writes
from asyncrep.location import S3Place, parse_storage
from asyncrep.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from asyncrep.flow.clock import Clock
    from asyncrep.jobs.mark import Mark, Written
    from asyncrep.jobs.store import JobStore
    from asyncrep.options import S3Access


class Output(Protocol):
    """A result that is written while a run goes on, and cut back when it is resumed."""

    def length(self) -> int:
        """Return how many bytes were written so far."""

    def sync(self) -> None:
        """Make them durable.

        Raises:
            AsyncrepError: that failed.
        """


class Pile(Protocol):
    """Lines that a run has put aside; see ``asyncrep.diff.spool.Spool``."""

    @property
    def size(self) -> int:
        """How many bytes they have."""

    def tail(self, start: int) -> bytes:
        """Return those from the byte ``start`` on."""


class Job:
    """A job that this process works on. Make one with ``open_job``.

    Attributes:
        state: what was saved last.
        outputs: results whose lengths are saved with the mark, by option.
        written: what its journal tells and its report does not; filled by ``read_journal``.
        writes: by journal writer, its last intent.
        note: what its user should know of how it was found; None when there is nothing.
    """

    def __init__(
        self,
        store: JobStore,
        state: State,
        clock: Clock,
        *,
        note: str | None = None,
        before: bytes | None = None,
    ) -> None:
        self.state = state
        self.note = note
        self.outputs: dict[str, Output] = {}
        self.written: dict[bytes, Written] = {}
        self.writes: dict[str, int] = {}
        self._store = store
        self._clock = clock
        self._piled: dict[str, int] = {}
        self._before = before
        self._has_done_nothing = False

    @property
    def name(self) -> str:
        """Where it is kept, as people call it."""
        return self._store.name

    @property
    def journal(self) -> str:
        """Where its writes are noted, unless another place is asked for: one journal from begin to end."""
        begun = "".join(filter(str.isalnum, self.state.begun.partition(".")[0]))
        return self.state.journal or f"{self.name}/journal-{begun}.jsonl"

    @property
    def mark(self) -> Mark | None:
        """How far runs before this one have come; None: this is the first."""
        return self.state.mark

    @property
    def work(self) -> dict[str, Any] | None:
        """How far runs before this one have come with what is no walk over two tables; None: this is the first."""
        return self.state.work

    async def begin(self) -> None:
        """Take note that another process works on it; to be called before anything is written anywhere.

        Raises:
            UsageError: another process took it at the same time.
            JobError: the state cannot be written.
        """
        self.state.runs += 1
        self.state.working = True
        try:
            await self._write()
            self._has_done_nothing = True
        except JobError as error:
            if isinstance(error.__cause__, ConditionFailedError):
                raise UsageError(str(error)) from error
            raise

    async def read_journal(self, place: str, access: S3Access | None = None) -> None:
        """Find out what runs before this one wrote and did not tell; ``access`` is how S3 is reached.

        Raises:
            UsageError: the journal is gone, or cannot be read.
        """
        where = parse_storage(place)
        if not isinstance(where, S3Place):
            where = where.absolute()  # the next run may be started elsewhere
        self.state.journal = str(where)
        if self.mark is not None:
            self.written, self.writes = await unsaid_writes(where, self.mark, access)

    async def piled(self, name: str) -> AsyncIterator[bytes]:
        """Yield the lines that runs before this one had put aside, some at a time.

        Raises:
            UsageError: a part of them is gone.
        """
        self._piled[name] = 0
        for part in self.state.parts[name]:
            lines = await self._store.read(part)
            if lines is None:
                raise UsageError(f"The job in {self.name} is damaged: {part} is gone.")
            self._piled[name] += len(lines)
            yield lines

    async def save(
        self, mark: Mark, piles: Mapping[str, Pile], *, done: bool = False, last: bool = False
    ) -> None:
        """Save how far the run is.

        What is saved is the moment of the call: nothing is awaited before all of it is known.

        Args:
            mark: how far that is.
            piles: what it has put aside, by name.
            done: the job has come to its end.
            last: the run has ended; its process works on the job no longer.

        Raises:
            JobError: it could not be saved.
            AsyncrepError: a result could not be made durable.
        """
        lengths = {option: output.length() for option, output in self.outputs.items()}
        tails = list(self._tails(piles))
        for output in self.outputs.values():
            output.sync()
        for name, tail in tails:
            parts = self.state.parts.setdefault(name, [])
            # The writer's token is in the name: whoever takes the job over does not find its parts replaced.
            part = f"{name}-{len(parts) + 1:06}-{self.state.holder}.jsonl"
            await self._store.write(part, tail)
            parts.append(part)
            self._piled[name] = self._piled.get(name, 0) + len(tail)
        self.state.mark, self.state.outputs = mark, lengths
        self.state.done, self.state.working = done, not last
        self._has_done_nothing = False
        await self._write()

    async def save_work(self, work: dict[str, Any], *, done: bool = False, last: bool = False) -> None:
        """Save how far a run is that is no walk over two tables.

        Args:
            work: how far that is: values that JSON can hold. What is saved is the moment of the call.
            done: the job has come to its end.
            last: the run has ended; its process works on the job no longer.

        Raises:
            JobError: it could not be saved.
            AsyncrepError: a result could not be made durable.
        """
        lengths = {option: output.length() for option, output in self.outputs.items()}
        for output in self.outputs.values():
            output.sync()
        self.state.work, self.state.outputs = work, lengths
        self.state.done, self.state.working = done, not last
        self._has_done_nothing = False
        await self._write()

    async def forget(self) -> None:
        """Remove what is kept of the job: nothing of it is left to go on with.

        Raises:
            JobError, ServiceError: it could not be removed.
        """
        self._has_done_nothing = False
        await self._store.remove([STATE_NAME])

    async def withdraw(self) -> None:
        """Put back what was kept before a run that is refused and has done nothing; nothing, if it has saved anything.

        Raises:
            JobError, ServiceError: it could not be put back.
        """
        if not self._has_done_nothing:
            return
        if self._before is None:
            await self.forget()
        else:
            await self._store.write(STATE_NAME, self._before)

    def _tails(self, piles: Mapping[str, Pile]) -> Iterator[tuple[str, bytes]]:
        for name, pile in piles.items():
            written = self._piled.get(name, 0)
            if pile.size > written:
                yield name, pile.tail(written)

    async def _write(self) -> None:
        self.state.saved = timestamp(self._clock.now())
        self.state.version = __version__
        await self._store.write(STATE_NAME, state_bytes(self.state))


@asynccontextmanager
async def open_job(
    place: str | Path | S3Place,
    options: Mapping[str, Any],
    *,
    access: S3Access | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Job]:
    """Open a job to work on it: go on with it, or begin it.

    Other processes of this computer are kept out meanwhile. A process elsewhere that works on a job in S3
    loses it with the first save here, and ends with its own next one.

    A job that has come to its end begins anew.

    Args:
        place: a folder, ``file:///FOLDER`` or ``s3://BUCKET/PREFIX``.
        options: what makes it this job: values that JSON can hold.
        access: how S3 is reached; by default as the environment says.
        clock: where time comes from.

    Raises:
        UsageError: another process works on it, it was begun with other options, or something else is there.
        ServiceError: S3 could not be asked.
    """
    clock = clock or SystemClock()
    where = parse_storage(place) if isinstance(place, str) else place
    if not isinstance(where, S3Place):
        where = where.absolute()
    holder = secrets.token_hex(8)
    async with open_job_store(where, holder, access) as store:
        before = await store.read(STATE_NAME)
        saved = parse_state(before, store.name)
        now = timestamp(clock.now())
        anew = saved is not None and saved.done
        if saved is None or saved.done or not saved.has_begun:
            saved = State(holder=holder, options=dict(options), begun=now, saved=now)
        else:
            _check_same(saved.options, dict(options), store.name)
            saved.holder = holder
        unfinished = isinstance(where, S3Place) and not anew and saved.working
        note = _note(store.name, anew=anew, working=unfinished)
        job = Job(store, saved, clock, note=note, before=before)
        try:
            yield job
        except UsageError:
            with suppress(AsyncrepError):  # why the run was refused matters more
                await job.withdraw()
            raise


def _note(name: str, *, anew: bool, working: bool) -> str | None:
    if anew:
        return f"The job in {name} was done; it begins anew."
    if working:
        return (
            f"The process that worked on the job in {name} has not said that it ended. If it still runs on another "
            "computer, it ends with its next save."
        )
    return None


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any], name: str) -> None:
    for option in dict.fromkeys((*before, *now)):
        if before.get(option) != now.get(option):
            raise UsageError(
                f"The job in {name} was begun with {option} {spelled(before.get(option))}, not "
                f"{spelled(now.get(option))}: repeat the command as it was, or choose another name."
            )
