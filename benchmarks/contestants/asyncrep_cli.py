"""asyncrep as its users run it: `asyncrep diff-tables` with progress, a discrepancy file and a summary."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contestants import contest

if TYPE_CHECKING:
    import argparse

_KINDS = ("missing", "different", "extraneous")
_SOME_REMAIN = 1
_WRONG_USAGE = 2


def words(options: argparse.Namespace, output: Path) -> list[str]:
    """The command line as a user writes it."""
    tables = (f"{options.url}/primary", f"{options.url}/replica")
    wanted = ["asyncrep", "diff-tables", *tables, "--segments", str(options.segments)]
    for name in ("strategy", "processes"):
        value = getattr(options, name)
        if value is not None:
            wanted += [f"--{name}", str(value)]
    return [*wanted, "--output", str(output), "--json"]


def main() -> None:
    """Run the command in this process.

    Raises:
        SystemExit: with the command's own exit code, when it is neither 0 nor 1.
        ValueError: the file does not hold as many discrepancies as the summary says.
    """
    parser = contest.arguments(__doc__)
    parser.add_argument("--strategy", help="dual-scan or batch-get; by default the option is not given")
    parser.add_argument("--processes", type=int)
    options = parser.parse_args()
    from asyncrep.cli.app import main as asyncrep  # noqa: PLC0415 - part of what is measured

    printed = io.BytesIO()
    stdout = io.TextIOWrapper(printed, encoding="utf-8", write_through=True)
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(stdout):
        output = Path(place) / "discrepancies.jsonl"
        sys.argv = words(options, output)
        try:
            asyncrep()
        except SystemExit as end:
            if end.code == _WRONG_USAGE:
                contest.not_possible("asyncrep diff-tables does not take these options in this version")
            if end.code not in {None, 0, _SOME_REMAIN}:
                raise
        lines = output.read_bytes().count(b"\n") if output.exists() else 0
    summary = json.loads(printed.getvalue())
    found = {kind: summary[kind] for kind in _KINDS}
    if lines != sum(found.values()):
        message = f"{lines} lines of discrepancies for {found}"
        raise ValueError(message)
    contest.finished(summary["compared"], **found)


if __name__ == "__main__":
    main()
