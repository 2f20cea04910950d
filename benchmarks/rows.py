"""The rows of the benchmark: how each contestant is started, what it must find, how much it is given."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import NotPossible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HERE = Path(__file__).parent
_NODE_MODULES = _HERE.parent / ".node" / "peers" / "node_modules"
_DYNAMODUMP = Path(sys.prefix) / "peers" / "dynamodump" / "bin" / "python"
"""dynamodump pins another boto3 than aioboto3 does, so that it lives in an environment of its own."""


class Runtime(Enum):
    """What a contestant runs on."""

    PYTHON = "this interpreter"
    DYNAMODUMP = "dynamodump's own environment"
    NODE = "Node"


class Pace(Enum):
    """How many items a contestant is given, so that its run takes seconds; its figures are for 100,000."""

    SLOW = "--slow-items"
    USUAL = "--items"
    QUICK = "--quick-items"


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant."""

    name: str
    job: str
    label: str
    module: str
    options: tuple[str, ...] = ()
    runtime: Runtime = Runtime.PYTHON
    finds: tuple[str, ...] = ()
    """Kinds of discrepancies it must find, all of them."""
    one_table: bool = False
    """Reads the primary only, so that it is held against the floor of one table."""
    writes: bool = False
    """Must write every item of the primary once."""
    pace: Pace = Pace.USUAL
    shows_memory: bool = False
    """Takes part in `--memory`."""

    def command(self, url: str, loop: str, *further: str) -> list[str]:
        """The command line of a run against an endpoint.

        Raises:
            NotPossible: what it runs on is not installed.
        """
        if self.runtime is Runtime.NODE:
            return [*self._node(), url]
        common = (url, "--until-input-closes", "--loop", loop)
        return [
            *self._python(),
            "-m",
            f"benchmarks.contestants.{self.module}",
            *common,
            *self.options,
            *further,
        ]

    def mistake(self, answer: Mapping[str, object], counts: Mapping[str, int]) -> str | None:
        """What is wrong with a contestant's answer, given what the tables hold; None when nothing is."""
        pairs = counts["primary"] + (counts["extraneous"] if "extraneous" in self.finds else 0)
        expected = {"items": pairs, "found": {kind: counts[kind] for kind in self.finds}}
        return None if answer == expected else f"answered {answer} instead of {expected}"

    def _python(self) -> Sequence[str]:
        if self.runtime is Runtime.PYTHON:
            return [sys.executable]
        if not _DYNAMODUMP.exists():
            raise NotPossible("dynamodump is not installed; `make bench` does that")
        return [str(_DYNAMODUMP)]

    def _node(self) -> Sequence[str]:
        node = shutil.which("node")
        package = self.module.replace("_", "-")
        if node is None or not (_NODE_MODULES / package).is_dir():
            raise NotPossible(f"{package} is not installed; `make bench` does that where there is npm")
        return [node, str(_HERE / "contestants" / f"{self.module}.js")]


_PRIMARY_WALK = ("missing", "different")
_EVERY_KIND = ("missing", "different", "extraneous")
_BATCH_GET = ("--strategy", "batch-get")
_DUAL_SCAN = ("--strategy", "dual-scan")

# asyncrep's own dumps are in `backups.py`.
ROWS = (
    Row("floor-one", "read", "floor, one table", "floor", ("--tables", "1"), one_table=True, pace=Pace.QUICK),
    Row("floor", "read", "floor, both tables", "floor", pace=Pace.QUICK),
    Row("scan", "read", "**asyncrep scan, one table**", "asyncrep_scan", one_table=True, pace=Pace.QUICK),
    Row("boto3", "check one way", "boto3 loop", "boto3_loop", finds=_PRIMARY_WALK, pace=Pace.SLOW),
    Row(
        "aioboto3",
        "check one way",
        "stock aioboto3 loop",
        "aioboto3_stock",
        finds=_PRIMARY_WALK,
        pace=Pace.SLOW,
    ),
    Row(
        "primary-walk",
        "check one way",
        "**asyncrep batch-get, primary walk**",
        "asyncrep_diff",
        ("--walk", "primary", *_BATCH_GET),
        finds=_PRIMARY_WALK,
        shows_memory=True,
    ),
    Row(
        "full",
        "check both ways",
        "**asyncrep batch-get, full check**",
        "asyncrep_diff",
        _BATCH_GET,
        finds=_EVERY_KIND,
        shows_memory=True,
    ),
    Row(
        "dual-scan",
        "check both ways",
        "**asyncrep dual-scan, full check**",
        "asyncrep_diff",
        _DUAL_SCAN,
        finds=_EVERY_KIND,
        pace=Pace.QUICK,
        shows_memory=True,
    ),
    Row(
        "cli",
        "check both ways",
        "**asyncrep diff-tables, dual-scan, everything on**",
        "asyncrep_cli",
        _DUAL_SCAN,
        finds=_EVERY_KIND,
        pace=Pace.QUICK,
        shows_memory=True,
    ),
    Row(
        "cli-processes",
        "check both ways",
        "**asyncrep diff-tables, dual-scan, --processes 2**",
        "asyncrep_cli",
        (*_DUAL_SCAN, "--processes", "2"),
        finds=_EVERY_KIND,
        pace=Pace.QUICK,
    ),
    Row(
        "copy-dynamodb-table",
        "copy",
        "copy-dynamodb-table (Node)",
        "copy_dynamodb_table",
        runtime=Runtime.NODE,
        one_table=True,
        writes=True,
        pace=Pace.SLOW,
    ),
    Row(
        "backfill",
        "copy",
        "**asyncrep backfill**",
        "asyncrep_backfill",
        one_table=True,
        writes=True,
    ),
    Row(
        "dynamodump",
        "dump",
        "dynamodump backup",
        "dynamodump_backup",
        runtime=Runtime.DYNAMODUMP,
        one_table=True,
        pace=Pace.SLOW,
    ),
)
