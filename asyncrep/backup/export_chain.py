"""Which exports follow each other without a gap. Pure.

An incremental export has the last state of every item that changed in its time, so that one that begins
earlier than the one before it ended does no harm; one that begins later leaves out what changed between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from asyncrep.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class Span(NamedTuple):
    """The time of one export.

    Attributes:
        label: the export as people call it.
        begin: of an incremental export; None for a full one.
        end: the moment whose state it tells.
    """

    label: str
    begin: datetime | None
    end: datetime

    @property
    def is_full(self) -> bool:
        """Whether it holds the whole table."""
        return self.begin is None

    @property
    def told(self) -> str:
        """The time as people read it."""
        return (
            f"at {spelled(self.end)}"
            if self.begin is None
            else f"from {spelled(self.begin)} to {spelled(self.end)}"
        )


def continued(spans: Sequence[Span], place: str) -> list[Span]:
    """Return the last full export, and the incremental ones that go on from there, in order.

    Raises:
        BackupError: there is no full one, or a time is missing between two of them.
    """
    full = [span for span in spans if span.is_full]
    if not full:
        raise BackupError(
            f"{place} holds incremental exports only; there is no full one before them to begin with."
        )
    chain = [max(full, key=_end)]
    later = [span for span in spans if not span.is_full and span.end > chain[0].end]
    while later:
        reached = chain[-1].end
        joining = [span for span in later if span.begin is not None and span.begin <= reached]
        if not joining:
            raise BackupError(_gap(min(later, key=_end), chain[-1], place))
        chain.append(max(joining, key=_end))
        later = [span for span in later if span.end > chain[-1].end]
    return chain


def _gap(later: Span, before: Span, place: str) -> str:
    return (
        f"{later.label} holds what changed {later.told}, and {before.label} ends at {spelled(before.end)}: what "
        f"changed between is in no export of {place}."
    )


def spelled(moment: datetime) -> str:
    """Return a moment as the service spells it."""
    return moment.isoformat().replace("+00:00", "Z")


def _end(span: Span) -> datetime:
    return span.end
