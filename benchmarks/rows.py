"""The rows of the benchmark: how each contestant is started, what it must find, how much it is given."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant."""

    name: str
    label: str
    module: str
    options: tuple[str, ...] = ()
    finds: tuple[str, ...] = ()
    """Kinds of discrepancies it must find, all of them."""
    one_table: bool = False
    """Reads the primary only, so that it is held against the floor of one table."""
    slow: bool = False
    """Is given `--slow-items` items; its figures are scaled to 100,000."""
    shows_memory: bool = False
    """Takes part in `--memory`."""

    def command(self, url: str, loop: str) -> list[str]:
        """The command line of a run against an endpoint."""
        return [
            sys.executable,
            "-m",
            f"benchmarks.contestants.{self.module}",
            url,
            "--until-input-closes",
            "--loop",
            loop,
            *self.options,
        ]

    def mistake(self, answer: Mapping[str, object], counts: Mapping[str, int]) -> str | None:
        """What is wrong with a contestant's answer, given what the tables hold; None when nothing is."""
        pairs = counts["primary"] + (counts["extraneous"] if "extraneous" in self.finds else 0)
        expected = {"items": pairs, "found": {kind: counts[kind] for kind in self.finds}}
        return None if answer == expected else f"answered {answer} instead of {expected}"


_PRIMARY_WALK = ("missing", "different")
_EVERY_KIND = ("missing", "different", "extraneous")

ROWS = (
    Row("floor-one", "floor, one table", "floor", ("--tables", "1"), one_table=True),
    Row("floor", "floor, both tables", "floor"),
    Row("boto3", "boto3 loop, primary walk", "boto3_loop", finds=_PRIMARY_WALK, slow=True),
    Row("aioboto3", "stock aioboto3, primary walk", "aioboto3_stock", finds=_PRIMARY_WALK, slow=True),
    Row("scan", "asyncrep scan, one table", "asyncrep_scan", one_table=True),
    Row(
        "primary-walk",
        "asyncrep batch-get, primary walk",
        "asyncrep_diff",
        ("--walk", "primary"),
        finds=_PRIMARY_WALK,
        shows_memory=True,
    ),
    Row(
        "full",
        "asyncrep full check",
        "asyncrep_diff",
        ("--walk", "full"),
        finds=_EVERY_KIND,
        shows_memory=True,
    ),
    Row(
        "cli",
        "asyncrep diff-tables, all on",
        "asyncrep_cli",
        finds=_EVERY_KIND,
        shows_memory=True,
    ),
)
