"""What every contestant shares: its arguments, its event loop and the one line it prints.

A contestant says on stdout how many items it read or compared and what it found; the times and the
memory are taken from outside, by whoever started it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Coroutine

CREDENTIALS = {
    "region_name": "us-east-1",
    "aws_access_key_id": "benchmark",
    "aws_secret_access_key": "benchmark",
}

_ORPHANED = 3
_NOT_POSSIBLE = 4
"""Exit code of a contestant that cannot do what is asked of it; `benchmarks.measure` knows it too."""


class _EndWithInput(argparse.Action):
    """Starts the thread that ends this process when its standard input is closed."""

    def __call__(self, *_: object) -> None:
        threading.Thread(target=_end_with_input, daemon=True).start()


def _end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(_ORPHANED)


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser for the endpoint's URL, the number of segments and the event loop.

    `--until-input-closes` is how whoever started a contestant takes it along when it goes itself.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("url", help="of the canned endpoint")
    parser.add_argument("--segments", type=int, default=16)
    parser.add_argument("--until-input-closes", nargs=0, action=_EndWithInput)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="uvloop")
    return parser


def backup_arguments(description: str | None) -> argparse.ArgumentParser:
    """The same, for what is done with backups in S3, and where they are."""
    parser = arguments(description)
    parser.add_argument("--job", choices=("dump", "restore", "fill", "snapshot"), required=True)
    parser.add_argument("--s3", required=True, help="URL of the canned S3")
    parser.add_argument("--place", required=True, help="prefix in its bucket")
    parser.add_argument("--name", required=True, help="of the backup, new for each run but that of a restore")
    return parser


def finished(items: int, **found: int) -> None:
    """Say that `items` were read or compared and how many discrepancies of each kind were found."""
    print(json.dumps({"items": items, "found": found}), flush=True)


def not_possible(why: str) -> NoReturn:
    """End because this version of the contestant cannot do what is asked of it: its row is left out."""
    print(why, file=sys.stderr, flush=True)
    sys.exit(_NOT_POSSIBLE)


def run(contest: Coroutine[Any, Any, None], loop: str) -> None:
    """Run a contestant's coroutine to its end on the event loop that was asked for."""
    factory = None
    if loop == "uvloop":
        import uvloop  # noqa: PLC0415

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(contest)
