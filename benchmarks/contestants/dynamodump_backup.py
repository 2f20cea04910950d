"""dynamodump writes a table to disk: `dynamodump -m backup`, in an environment of its own.

It starts 25 threads and sleeps a second after each, whatever there is to be done. The sleep is set to
nothing here: it costs no CPU, would be taken off as start-up anyway, and would make the benchmark wait.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.contestants import contest

_COUNT = b'"ScannedCount": '


def main() -> None:
    """Run the command in this process and count the items of the files that it wrote."""
    parser = contest.arguments(__doc__)
    parser.add_argument("--keep", help="a folder for the dump, which is gone with the process otherwise")
    options = parser.parse_args()
    dynamodump: Any = importlib.import_module("dynamodump.dynamodump")
    dynamodump.THREAD_START_DELAY = 0
    place = urlsplit(options.url)
    with tempfile.TemporaryDirectory() as passing:
        dump = options.keep or passing
        where = ("--host", str(place.hostname), "--port", str(place.port), "-r", "us-east-1")
        credentials = ("--accessKey", "benchmark", "--secretKey", "benchmark")
        what = ("-m", "backup", "-s", "primary", "--dumpPath", dump, "--log", "WARNING")
        sys.argv = ["dynamodump", *what, *where, *credentials]
        dynamodump.main()
        pages = sorted(Path(dump, "primary", "data").iterdir())
        items = sum(_items(page.read_bytes()) for page in pages)
    contest.finished(items)


def _items(page: bytes) -> int:
    """How many items a page says it has: its count stands behind them."""
    count = page[page.rindex(_COUNT) + len(_COUNT) :]
    return int(count.split(b",")[0].strip(b" \n}"))


if __name__ == "__main__":
    main()
