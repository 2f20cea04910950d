"""Tells an explanation in plain sentences: cause and evidence, time to live, sizes, what a repair would do. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from asyncrep.diff.expiry import FIVE_YEARS, as_date, expiry
from asyncrep.model import Cause, State
from asyncrep.mutation import Delete, Patch, Put

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asyncrep.model import WireValue
    from asyncrep.mutation import Mutation
    from asyncrep.repair.explain import Explanation, SideOfRecord
    from asyncrep.repair.past import PastWrite

_LIKELY = {
    Cause.MISSED_PUT: "a put was missed. The primary has the item and the replica has none.",
    Cause.MISSED_DELETE: (
        "a delete was missed, or somebody wrote to the replica. The replica has an item and the primary has none."
    ),
    Cause.MISSED_TTL_DELETE: "a delete by the primary's TTL was missed.",
    Cause.OLDER_VERSION: "the replica holds an older state of the primary's item.",
    Cause.NEWER_VERSION: "the replica holds a newer state than the primary: somebody writes to the replica.",
    Cause.ATTRIBUTE_CHANGE: (
        "attributes were changed on one side and not on the other. Nothing tells which state is the older one: no "
        "version or time of change that both sides have differs."
    ),
    Cause.IN_FLIGHT: "the primary's item is being written to. That is no drift.",
    Cause.EXPIRED: ("TTL has given the item up, and DynamoDB deletes it in its own time. That is no drift."),
}
_MOST_NAMES = 20
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
_encode = msgspec.json.Encoder().encode


def verdict(told: Explanation) -> str:
    """Say whether the sides agree, and how not."""
    found = told.discrepancy
    if found is None:
        if told.record.exists:
            return "The record is the same on both sides."
        return "Neither side has this record."
    return {
        "missing": "The replica does not have this record.",
        "extraneous": "The primary does not have this record.",
        "different": "The record differs.",
    }[found.kind]


def cause(told: Explanation) -> list[str]:
    """Name the likely cause and what it rests on; nothing for sides that agree."""
    if told.cause is None:
        return []
    sentences = [f"Likely cause: {_LIKELY[told.cause]}"]
    if told.version is not None:
        name, ours, theirs, _ = told.version
        sentences.append(f'"{name}" is {brief(theirs)} in the replica and {brief(ours)} in the primary.')
    if told.cause is Cause.MISSED_TTL_DELETE:
        attribute = told.primary.ttl_attribute
        moment = as_date(expiry(told.replica.image, attribute))
        assert moment is not None, "what expired has a date"
        past = duration(told.now - moment.timestamp())
        sentences.append(
            f"By the primary's TTL attribute \"{attribute}\" the replica's item expired "
            f"{moment:%Y-%m-%d %H:%M:%S} UTC, {past} ago."
        )
    return sentences


def movement(told: Explanation) -> list[str]:
    """Say whether the primary's item changed while it was looked at."""
    found = told.discrepancy
    if found is not None and found.state is State.IN_FLIGHT:
        return [found.reason] if found.reason else []
    if not told.record.exists:
        return []
    if told.looks == 1:
        return [] if found is None else ["The primary's record did not change while it was looked at."]
    moved = told.looks - 1
    times = "look" if moved == 1 else f"{moved} looks"
    return [f"The primary's record changed during the first {times} at it, and not during the last."]


def times_to_live(told: Explanation) -> list[str]:
    """Say when the item of either side expires."""
    sides = [(name, side) for name, side in _sides(told) if side.image is not None]
    if sides and all(side.ttl_known and side.ttl_attribute is None for _, side in _sides(told)):
        return ["TTL is off on both sides."]
    return [_time_to_live(name, side, told.now) for name, side in sides]


def _sides(told: Explanation) -> Iterable[tuple[str, SideOfRecord]]:
    return ("primary", told.primary), ("replica", told.replica)


def _time_to_live(name: str, side: SideOfRecord, now: float) -> str:
    if not side.ttl_known:
        return (
            f"The credentials may not read the TTL settings of the {name}: nothing counts as expired there."
        )
    if side.ttl_attribute is None:
        return f"The {name} has TTL off."
    return f"The {name}'s item {_expiry(side, now)}."


def _expiry(side: SideOfRecord, now: float) -> str:
    attribute, date = f'"{side.ttl_attribute}"', side.expires_at
    if side.expires is None:
        return f"never expires: it has no number in its TTL attribute {attribute}"
    if date is None:
        return f"never expires: its TTL attribute {attribute} holds no time that a calendar has"
    moment = f"{date:%Y-%m-%d %H:%M:%S} UTC"
    if side.expires >= now:
        return f"expires {moment}, in {duration(side.expires - now)}, by {attribute}"
    if now - side.expires >= FIVE_YEARS:
        return f"never expires: {moment}, in {attribute}, is more than five years past"
    return f"expired {moment}, {duration(now - side.expires)} ago, by {attribute}"


def sizes(told: Explanation) -> list[str]:
    """Say how large the items are."""
    counted = {name: side.size for name, side in _sides(told) if side.size is not None}
    if len(counted) == 2 and len(set(counted.values())) == 1:
        return [f"The item has {told.primary.size:,} bytes on both sides."]
    parts = [f"{size:,} bytes in the {name}" for name, size in counted.items()]
    return [f"The item has {' and '.join(parts)}."] if parts else []


def past(told: Explanation) -> list[str]:
    """Say what the journal tells of the record; nothing when none was given."""
    if told.past is None:
        return []
    sentences = [_written(write) for write in told.past.writes] or [
        "The journal does not mention this record."
    ]
    if told.past.damaged:
        lines = "1 line" if told.past.damaged == 1 else f"{told.past.damaged:,} lines"
        sentences.append(f"{lines} of the journal cannot be read, and may tell more.")
    return sentences


def _written(write: PastWrite) -> str:
    who = "an undo" if write.undoing else "a repair"
    what = f"{write.deed} the item" + (f" ({listed(write.names)})" if write.names else "")
    if write.applied:
        done = {"put": "put", "patch": "patched", "delete": "deleted"}[write.deed]
        return f"{write.at}: {who} {done} the item{what.partition('the item')[2]}."
    why = f": {write.error}" if write.error else "."
    if write.applied is None:
        return f"{write.at}: {who} was about to {what}; whether that landed is not known{why}"
    if write.error is None:
        why = ": the item was not any more what had been read."
    return f"{write.at}: {who} was about to {what}, and nothing was written{why}"


def remedy(told: Explanation) -> list[str]:
    """Say what ``replicate-record`` would write, and under which condition."""
    found = told.discrepancy
    if found is None:
        return []
    if found.state is State.IN_FLIGHT:
        return ["replicate-record would write nothing as long as the primary's item keeps changing."]
    if found.state is State.EXPIRED:
        return ["replicate-record would write nothing: what TTL has given up is left to DynamoDB."]
    sentences = [f"replicate-record would {_deed(mutation)}" for mutation in told.mutations]
    if not told.guarded_whole:
        sentences.append(
            "The item is too large for one condition: what it cannot check is read again just before the write."
        )
    return [*sentences, "Then it would read the primary again, to verify."]


def _deed(mutation: Mutation) -> str:
    match mutation:
        case Put():
            return "put the primary's item, on condition that the replica still has none."
        case Delete():
            return (
                "delete the replica's item, on condition that each of its attributes still is what was read."
            )
        case Patch(_, assign, remove, _):
            parts = [
                f"{verb} {listed(names)}"
                for verb, names in (("set", list(assign)), ("remove", list(remove)))
                if names
            ]
            one = len(assign) + len(remove) == 1
            still = "this attribute still holds" if one else "these attributes still hold"
            return (
                f"patch the replica's item: {' and '.join(parts)}, on condition that {still} what was read. "
                "All others stay as they are."
            )


def listed(names: Sequence[str]) -> str:
    """List names, or the first of many."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def brief(value: WireValue | None, most: int = 120) -> str:
    """Spell a value shortly: text in quotes, numbers as they are, and the rest as DynamoDB sends it."""
    if value is None:
        return "—"
    text = _encode(value).decode()
    if len(value) == 1:
        ((kind, content),) = value.items()
        if kind == "N":
            text = str(content)
        elif kind in {"S", "BOOL"}:
            text = _encode(content).decode()
        elif kind == "NULL":
            text = "null"
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def duration(seconds: float) -> str:
    """Spell a duration in its largest unit, ``3 hours``."""
    size, name = next(((size, name) for size, name in _UNITS if seconds >= size), _UNITS[-1])
    number = int(seconds // size)
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"
