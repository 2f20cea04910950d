"""What the summary of a repair by a stored diff says."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from asyncrep import Missing, Report
from asyncrep.cli.render import SHOWN, show_summary


def summary(*, shown: int = 0, dry_run: bool = False, **counts: Any) -> str:
    """The summary of a report with these counts, in one line."""
    console = Console(file=io.StringIO(), width=200, _environ={})
    told = Report("us-east-1/orders", "eu-west-1/orders", "stored diff", **({"complete": True} | counts))
    found = [Missing(key=b'{"id":{"S":"%d"}}' % number, primary=b"{}") for number in range(shown)]
    show_summary(console, told, found, (), repairing=not dry_run, dry_run=dry_run)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


def test_it_counts_what_was_reviewed_and_what_became_of_it() -> None:
    text = summary(
        missing=5, extraneous=2, settled=3, repaired=4, changed=5, skipped=1, read_units=12, write_units=4, seconds=2.0,
    )  # fmt: skip
    for words in (
        "10 compared 3 equal by now 5 missing from the replica 2 extraneous in the replica",
        "4 repaired and verified",
        "1 skipped",
        "5 changed since the diff: left alone",
        "stored diff · 12 read units, 4 write units · 2.0 s, 5 items/s",
        "Of the diff 3 discrepancies remain.",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"missing": 2, "repaired": 2}, "Every discrepancy of the diff is gone: repaired and verified."),
        (
            {"missing": 2, "repaired": 2, "settled": 1, "changed": 1},
            "Every discrepancy of the diff is gone: repaired and verified, or equal by now.",
        ),
        ({}, "There was nothing to do."),
        ({"different": 1, "changed": 1}, "Of the diff 1 discrepancy remains."),
        ({"in_flight": 2}, "2 records of the diff kept changing and could not be judged."),
        (
            {"missing": 2, "dry_run": True},
            "Of the diff 2 discrepancies remain; nothing was written, this was a dry run.",
        ),
        ({"missing": 2, "complete": False}, "The run is incomplete"),
    ],
)
def test_it_ends_with_what_is_true_of_the_diff_and_says_nothing_of_the_table(
    counts: dict[str, Any], said: str
) -> None:
    text = summary(**counts)
    assert said in text
    assert "The replica is" not in text
    assert "--repair" not in text


def test_what_is_not_shown_is_counted() -> None:
    text = summary(shown=SHOWN, missing=8, repaired=8, settled=5, changed=5)
    assert f"… and {13 - SHOWN} more; --output FILE has all of them" in text
