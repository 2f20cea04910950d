"""What is kept of a job between two runs: its state, one JSON document. Pure."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from asyncrep.errors import UsageError
from asyncrep.jobs.mark import Mark
from asyncrep.jobs.store import PART
from asyncrep.options import Strategy
from asyncrep.report import Report
from asyncrep.version import __version__

FORMAT = 1
"""The number in a state; another one is another format."""

_TOLD = ("items", "segments", "segments_done")
"""What other commands tell of a job's work."""


class State(msgspec.Struct, kw_only=True):
    """What is kept of a job.

    Attributes:
        job: the format.
        version: the asyncrep that wrote it.
        holder: a token of the process that wrote it.
        options: what makes it this job and no other.
        begun: when it was, ISO 8601 in UTC.
        saved: when this was written.
        runs: how many processes have worked on it.
        done: it has come to its end.
        working: a process works on it, or has ended without a word.
        mark: how far it is; None before the first save, and for a job that keeps ``work``.
        work: how far a job is that is no walk over two tables, in the words of whoever does it; ``COMMAND``
            in its options says who that is. ``items``, ``segments`` and ``segments_done`` are told by
            ``jobs list`` where it has them.
        outputs: by option, how many bytes of the file count.
        parts: by pile, the documents that hold it, in order.
        journal: where its writes are noted.
    """

    job: int = FORMAT
    version: str = __version__
    holder: str
    options: dict[str, Any]
    begun: str
    saved: str
    runs: int = 0
    done: bool = False
    working: bool = False
    mark: Mark | None = None
    work: dict[str, Any] | None = None
    outputs: dict[str, int] = {}
    parts: dict[str, list[str]] = {}
    journal: str | None = None

    @property
    def has_begun(self) -> bool:
        """Whether a run has told how far it is: before that it has done nothing."""
        return self.mark is not None or self.work is not None


_decode = msgspec.json.Decoder(State).decode
_encode = msgspec.json.Encoder().encode


def state_bytes(state: State) -> bytes:
    """Return a state as it is stored."""
    return _encode(state)


def parse_state(document: bytes | None, name: str) -> State | None:
    """Read a state; None when there is none.

    Raises:
        UsageError: it is none, or of another format.
    """
    if document is None:
        return None
    try:
        state = _decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"{name} holds no job that can be read: {error}.") from error
    if state.job != FORMAT:
        raise UsageError(
            f"The job in {name} has format {state.job}; this asyncrep knows only format {FORMAT}."
        )
    if not _is_sound(state):
        raise UsageError(f"The job in {name} is damaged: its state contradicts itself.")
    return state


def _is_sound(state: State) -> bool:
    """Tell whether the parts of a state can belong together; nothing outside the job's place may be named."""
    parts = [part for parts in state.parts.values() for part in parts]
    if not all(map(PART.fullmatch, parts)):
        return False
    mark = state.mark
    if not all(isinstance((state.work or {}).get(name, 0), int) for name in _TOLD):
        return False
    if mark is None:
        return not state.done or state.work is not None
    known = Report("", "").counts()
    return (
        mark.strategy in get_args(Strategy)
        and bool(mark.segments)
        and all(0 <= index < mark.total for index in mark.segments)
        and set(mark.reached) <= {"primary", "replica"}
        and all(_fits(known[name], value) for name, value in mark.counts.items() if name in known)
    )


def _fits(known: Any, value: Any) -> bool:
    """Tell whether a count is of the kind that a report has."""
    return known is None or isinstance(value, int | float if isinstance(known, int | float) else type(known))


def spelled(value: Any) -> str:
    """Return the value of an option as a sentence names it."""
    if value is None or value is False or value == []:
        return "left out"
    if value is True:
        return "given"
    return _encode(value).decode()
