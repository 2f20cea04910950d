"""asyncrep as its users run it: dumps a table, restores it, fills an incremental folder, makes a snapshot of one."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from typing import TYPE_CHECKING

from benchmarks.contestants import contest

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_WRONG_USAGE = 2
_COMMANDS = {
    "dump": "backup-table",
    "restore": "restore",
    "fill": "incremental-backfill",
    "snapshot": "incremental-snapshot",
}


def words(options: argparse.Namespace) -> Sequence[str]:
    """The command line as a user writes it."""
    place = f"s3://bucket/{options.place}"
    which = {
        "dump": (f"{options.url}/primary", place, "--jobid", options.name),
        "restore": (f"{place}/{options.name}", f"{options.url}/copy"),
        "fill": (f"{options.url}/primary", f"{place}/{options.name}"),
        "snapshot": (place, f"s3://bucket/snapshots/{options.name}.gz"),
    }[options.job]
    return ["asyncrep", _COMMANDS[options.job], *which, "--s3-endpoint", options.s3, "--json"]


def main() -> None:
    """Run the command in this process.

    Raises:
        SystemExit: with the command's own exit code, when it is not 0.
    """
    options = contest.backup_arguments(__doc__).parse_args()
    from asyncrep.cli.app import main as asyncrep  # noqa: PLC0415 - part of what is measured

    printed = io.BytesIO()
    stdout = io.TextIOWrapper(printed, encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(stdout):
        sys.argv = [*words(options)]
        try:
            asyncrep()
        except SystemExit as end:
            if end.code == _WRONG_USAGE:
                contest.not_possible(f"{_COMMANDS[options.job]} does not take this in this version")
            if end.code not in {None, 0}:
                raise
    summary = json.loads(printed.getvalue())
    contest.finished(summary["compared" if options.job == "fill" else "items"])


if __name__ == "__main__":
    main()
