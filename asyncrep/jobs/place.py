"""Where a job is kept: a name in the state folder, a path, or a place in S3."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from asyncrep.errors import UsageError
from asyncrep.jobs.folders import state_folder
from asyncrep.location import parse_storage

if TYPE_CHECKING:
    from pathlib import Path

    from asyncrep.location import S3Place

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def jobs_folder() -> Path:
    """Return the folder in which jobs are kept that have but a name."""
    return state_folder() / "jobs"


def job_place(name: str | None) -> Path | S3Place | None:
    """Return where a job is kept; None for none.

    Args:
        name: a name of letters, digits, ``.``, ``_`` and ``-``; a path, which has a slash in it; or
            ``s3://BUCKET/PREFIX``.

    Raises:
        UsageError: it is none of these.
    """
    if name is None:
        return None
    if "/" in name:
        return parse_storage(name)
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not the name of a job: up to 100 letters, digits, dots, dashes and underscores, "
            "not beginning with a dot or dash. A path has a slash in it, as ./NAME."
        )
    return jobs_folder() / name
