"""Adds the summaries of jobs that looked at parts of one pair of tables, and says which parts are missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asyncrep.errors import UsageError
from asyncrep.jobs.listing import command_of, journal_of
from asyncrep.jobs.state import spelled
from asyncrep.report import Report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncrep.jobs.listing import Seen
    from asyncrep.jobs.state import State

_MAY_DIFFER = frozenset({"--segment", "--segments", "--output", "--combined", "--journal"})
_NO_COUNTS = frozenset({"segments", "segment", "slowed_to", "complete"})


@dataclass(frozen=True, slots=True)
class Merged:
    """Several jobs as one.

    Attributes:
        report: what they counted together; ``seconds`` is what they took one by one. It is complete when
            every segment was looked at to its end.
        options: what they have in common.
        missing: segments that none of them looks at.
        unfinished: by segment, the job that has not come to its end.
        jobs: their names, in the order of their segments.
        journals: where their writes are noted.
    """

    report: Report
    options: Mapping[str, Any]
    missing: list[int]
    unfinished: dict[int, str]
    jobs: list[str] = field(default_factory=list)
    journals: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the summary that ``jobs merge --json`` prints."""
        return self.report.as_dict() | {
            "missing_segments": self.missing,
            "unfinished_segments": sorted(self.unfinished),
            "jobs": self.jobs,
            "journals": self.journals,
        }


def merged(jobs: Sequence[Seen]) -> Merged:
    """Add jobs up; the order in which they are given says nothing.

    Raises:
        UsageError: two of them looked at the same segment, or they are not parts of one whole.
    """
    states = [(each.name, _readable(each)) for each in jobs]
    first, options = states[0][0], _shared(states[0][1])
    parts: dict[int, tuple[str, State]] = {}
    total = _total(*states[0])
    for name, state in states:
        _check_same(first, options, name, _shared(state))
        if _total(name, state) != total:
            raise UsageError(
                f"{name} cuts the tables into {_total(name, state)} segments, {first} into {total}: "
                "they are no parts of one whole."
            )
        for index in _segments(state):
            if index in parts:
                raise UsageError(f"{parts[index][0]} and {name} both looked at segment {index} of {total}.")
            parts[index] = name, state
    ordered = dict(sorted(dict(parts.values()).items(), key=lambda entry: min(_segments(entry[1]))))
    missing = [index for index in range(total) if index not in parts]
    unfinished = {index: name for index, (name, state) in sorted(parts.items()) if not state.done}
    report = _added(list(ordered.values()), total)
    report.complete = not missing and not unfinished
    journals = [journal for state in ordered.values() if (journal := journal_of(state))]
    return Merged(report, options, missing, unfinished, list(ordered), list(dict.fromkeys(journals)))


def _readable(seen: Seen) -> State:
    if seen.state is None:
        raise UsageError(seen.problem or f"There is no job in {seen.place}; only its journal was kept.")
    if command_of(seen.state.options) != "diff-tables":
        raise UsageError(f"{seen.name} is a job of {command_of(seen.state.options)}: only checks are merged.")
    if seen.state.options.get("--sample") is not None:
        raise UsageError(f"{seen.name} looked at a sample: that is no part of a whole.")
    return seen.state


def _shared(state: State) -> dict[str, Any]:
    return {option: value for option, value in state.options.items() if option not in _MAY_DIFFER}


def _check_same(first: str, ours: Mapping[str, Any], name: str, theirs: Mapping[str, Any]) -> None:
    for option in dict.fromkeys((*ours, *theirs)):
        if ours.get(option) != theirs.get(option):
            raise UsageError(
                f"{first} and {name} are no parts of one whole: {option} is {spelled(ours.get(option))} in "
                f"the one and {spelled(theirs.get(option))} in the other."
            )


def _segments(state: State) -> list[int]:
    if state.mark is not None:
        return state.mark.segments
    chosen = state.options.get("--segment")
    return [chosen] if isinstance(chosen, int) else list(range(state.options.get("--segments") or 0))


def _total(name: str, state: State) -> int:
    total = state.mark.total if state.mark is not None else state.options.get("--segments")
    if not total:
        raise UsageError(f"{name} has not begun: into how many segments it cuts the tables is not known.")
    return int(total)


def _added(states: Sequence[State], total: int) -> Report:
    """Add the counts of jobs up."""
    primary, replica = (str(states[0].options.get(side)) for side in ("PRIMARY", "REPLICA"))
    report = Report(primary, replica, segments=total)
    strategies: dict[str, None] = {}
    for state in states:
        if state.mark is None:
            continue
        counts = state.mark.counts
        report.primary, report.replica = counts.get("primary", primary), counts.get("replica", replica)
        strategies[counts.get("strategy", report.strategy)] = None
        for name, value in counts.items():
            if isinstance(value, int | float) and name not in _NO_COUNTS and hasattr(report, name):
                setattr(report, name, getattr(report, name) + value)
        for cause, number in counts.get("causes", {}).items():
            report.causes[cause] = report.causes.get(cause, 0) + number
    report.strategy = ", ".join(sorted(strategies)) or report.strategy
    return report
