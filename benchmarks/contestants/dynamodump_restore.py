"""dynamodump writes a dump of its own back: `dynamodump -m restore`, in an environment of its own."""

from __future__ import annotations

import importlib
import sys
from typing import Any
from urllib.parse import urlsplit

from benchmarks.contestants import contest


def main() -> None:
    """Run the command in this process; what it wrote the endpoint counts."""
    parser = contest.arguments(__doc__)
    parser.add_argument("--dump", required=True, help="a folder with a dump of `primary`")
    options = parser.parse_args()
    dynamodump: Any = importlib.import_module("dynamodump.dynamodump")
    dynamodump.THREAD_START_DELAY = 0
    place = urlsplit(options.url)
    where = ("--host", str(place.hostname), "--port", str(place.port), "-r", "us-east-1")
    credentials = ("--accessKey", "benchmark", "--secretKey", "benchmark")
    what = ("-m", "restore", "-s", "primary", "-d", "copy", "--dataOnly", "--skipThroughputUpdate")
    sys.argv = ["dynamodump", *what, "--dumpPath", options.dump, "--log", "WARNING", *where, *credentials]
    dynamodump.main()
    contest.finished(0)


if __name__ == "__main__":
    main()
