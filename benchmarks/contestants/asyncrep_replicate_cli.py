"""asyncrep as its users run it: `asyncrep replicate`, ended by SIGTERM when its log says that all shards are done.

The log is JSON lines on stderr, as it is wherever nobody watches.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import urllib.request
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from benchmarks.contestants import contest

if TYPE_CHECKING:
    import argparse

_LEFT, _STOPPED = "shard_left", "stopped"


class Log(io.StringIO):
    """What the command logs; it ends the command as soon as that tells of the end of the last shard."""

    def __init__(self, shards: int) -> None:
        super().__init__()
        self._open = shards

    def write(self, text: str) -> int:
        """Take a line."""
        if f'"event": "{_LEFT}"' in text:
            self._open -= 1
            if not self._open:
                os.kill(os.getpid(), signal.SIGTERM)
        return super().write(text)

    @property
    def figures(self) -> dict[str, Any]:
        """What the last line says."""
        line: dict[str, Any] = json.loads(self.getvalue().splitlines()[-1])
        if line["event"] != _STOPPED:
            message = f"the last line of the log is not {_STOPPED!r}: {line}"
            raise ValueError(message)
        return line


def count_shards(url: str) -> int:
    """How many shards the stream has."""
    target = {"X-Amz-Target": "DynamoDBStreams_20120810.DescribeStream"}
    request = urllib.request.Request(url, b"{}", target)
    with urllib.request.urlopen(request, timeout=30) as response:
        return len(json.load(response)["StreamDescription"]["Shards"])


def words(options: argparse.Namespace) -> list[str]:
    """The command line as a user writes it."""
    tables = (f"{options.url}/primary", f"{options.url}/copy")
    return ["asyncrep", "replicate", *tables, "--task-name", token_hex(8), "--guard", options.guard]


def main() -> None:
    """Run the command in this process.

    Raises:
        SystemExit: with the command's own exit code, when it is not 0.
    """
    parser = contest.arguments(__doc__)
    parser.add_argument("--guard", default="none")
    options = parser.parse_args()
    log = Log(count_shards(options.url))
    from asyncrep.cli.app import main as asyncrep  # noqa: PLC0415 - part of what is measured

    sys.argv = words(options)
    with contextlib.redirect_stderr(log):
        try:
            asyncrep()
        except SystemExit as end:
            if end.code:
                print(log.getvalue(), file=sys.__stderr__)
                raise
    contest.finished(log.figures["records"])


if __name__ == "__main__":
    main()
