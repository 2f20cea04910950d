"""Where a repair notes what it writes, and what people are told of that."""

from __future__ import annotations

import re
import secrets
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from asyncrep.cli.storage_options import s3_arguments
from asyncrep.flow.clock import SystemClock
from asyncrep.location import parse_storage

if TYPE_CHECKING:
    from asyncrep.options import S3Access

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


def chosen_journal(given: str | None, table: str) -> str:
    """Return the place of a new journal: what was asked for, or a file of its own in the state folder.

    Args:
        given: the option.
        table: the name of the table that is written to.

    Raises:
        LocationError: what was asked for is no place for a file.
    """
    if given is not None:
        return str(parse_storage(given))
    from asyncrep.jobs.folders import state_folder  # noqa: PLC0415 - only who writes needs it

    now = datetime.fromtimestamp(SystemClock().now(), UTC)
    name = f"{now:%Y%m%dT%H%M%SZ}-{_UNSAFE.sub('_', table)[:100]}-{secrets.token_hex(3)}.jsonl"
    return str(state_folder() / "journals" / name)


def undo_command(journal: str, access: S3Access | None = None) -> str:
    """Return the command that takes back what a journal holds, as a shell wants it; ``access`` is how S3 was reached."""
    options = s3_arguments(access) if journal.startswith("s3://") else ()
    return shlex.join(["asyncrep", "undo", journal, *options])


def where_noted(journal: str, what: str = "What was written", *, access: S3Access | None = None) -> str:
    """Say where a journal is and how it is used; ``access`` is how S3 was reached."""
    return f"{what} is noted in a journal; to take it back: {undo_command(journal, access)}"
