"""``--at``: a moment as people write it."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import typer

from asyncrep.errors import UsageError

_EPOCH = re.compile(r"[0-9]{9,12}(?:\.[0-9]{1,9})?", re.ASCII)  # fewer digits are a date

AtOption = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="TIME",
        help="An incremental folder as it was recorded at that time: ISO 8601, or seconds since 1970.",
        rich_help_panel="Backups",
        show_default=False,
    ),
]


class Moment(NamedTuple):
    """A moment, and what should be said of how it was read.

    Attributes:
        seconds: since the epoch.
        notes: one sentence each.
    """

    seconds: float
    notes: tuple[str, ...] = ()


def read_moment(text: str) -> Moment:
    """Read a moment: ISO 8601, in UTC unless it tells its zone, or seconds since the epoch.

    Raises:
        UsageError: it is none.
    """
    if _EPOCH.fullmatch(text):
        return Moment(float(text))
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return Moment(_seconds(moment))
        return Moment(_seconds(moment.replace(tzinfo=UTC)), (f"{text} tells no zone: it is taken for UTC.",))
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f'"{text}" is no time: write it as 2026-01-02T03:04:05Z, or in seconds since 1970.'
        ) from error


def _seconds(moment: datetime) -> float:
    seconds = moment.timestamp()
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError
    return seconds
