"""Plans how the writes to one record are taken back, newest first, as far as nobody wrote since. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from asyncrep.items.equality import (
    Wire,
    decode_image,
    differing_attributes,
    encode_image,
    same_item,
    same_value,
)
from asyncrep.model import Different, Extraneous, Missing
from asyncrep.mutation import AttributesAre, Delete, ItemAbsent, Patch, Put

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asyncrep.jobs.entries import Entry
    from asyncrep.model import Discrepancy, WireValue
    from asyncrep.mutation import Mutation


class UndoState(StrEnum):
    """What became of the writes to a record; of several that apply the last one here counts."""

    ALREADY = "already"
    """The record is as it was before."""
    PENDING = "pending"
    """A dry run: they would be taken back."""
    TAKEN_BACK = "taken_back"
    CHANGED = "changed"
    """Somebody wrote to it since; what they wrote is not overwritten."""
    UNKNOWN = "unknown"
    """The journal does not tell whether a write landed."""
    FAILED = "failed"


_RANK = {state: rank for rank, state in enumerate(UndoState)}


class Finding(NamedTuple):
    """What is known of one write; ``reason`` where the state needs one."""

    state: UndoState
    reason: str | None = None


class Step(NamedTuple):
    """A write that takes one back, and what the journal is to say of it."""

    mutation: Mutation
    found: Discrepancy


@dataclass(slots=True)
class TakeBack:
    """How the writes to a record are taken back.

    Attributes:
        steps: the writes, in order; each expects what the one before it leaves.
        findings: what is known of the writes that were applied, or may have been, newest first.
    """

    steps: list[Step] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def state(self) -> UndoState:
        """What is said of the record as a whole."""
        return max((finding.state for finding in self.findings), key=_RANK.__getitem__)

    @property
    def reason(self) -> str | None:
        """Why, each sentence once."""
        return sentences(finding.reason for finding in self.findings)


def sentences(parts: Iterable[str | None]) -> str | None:
    """Put sentences together, each once; None when there are none."""
    return " ".join(dict.fromkeys(filter(None, parts))) or None


def is_open(entry: Entry) -> bool:
    """Tell whether a write landed, or may have: those that did not have nothing to be taken back."""
    return entry.outcome is None or entry.outcome.applied


def deeds(entries: Sequence[Entry]) -> list[str]:
    """Return what taking writes back does, newest first: put, patch or delete, each once."""
    names: dict[type, str] = {Put: "delete", Patch: "patch", Delete: "put"}
    return list(dict.fromkeys(names[type(entry.mutation)] for entry in entries))


def plan_take_back(entries: Sequence[Entry], image: bytes | None) -> TakeBack:
    """Plan how the writes to a record are taken back.

    A write is taken back only where the record is as that write left it: all of an item that was put, the
    touched attributes of one that was patched, nothing where one was deleted. Then the record is as it was
    before that write, which must be what the write before left, and so on. A record that is wholly as it was
    before one of the writes needs none of the later ones taken back, also where the last write left it so.

    Args:
        entries: the writes that were applied or may have been, newest first.
        image: the record as it is, None when there is none.
    """
    taken = TakeBack()
    item = None if image is None else decode_image(image)
    already = _taken_back_already(entries, image)
    for place, entry in enumerate(entries):
        if entry.outcome is None:
            taken.findings.append(Finding(UndoState.UNKNOWN, _unknown(entry, item)))
        elif place < already:
            taken.findings.append(Finding(UndoState.ALREADY))
        elif (changed := _changed_since(entry, item)) is None:
            image, item = _add_step(taken, entry, image, item)
        elif _is_as_before(entry, item):
            taken.findings.append(Finding(UndoState.ALREADY))
        else:
            taken.findings.append(Finding(UndoState.CHANGED, changed))
    return taken


def _add_step(
    taken: TakeBack, entry: Entry, image: bytes | None, item: Wire | None
) -> tuple[bytes | None, Wire | None]:
    """Add what takes one write back, if it can be; return the record as it is then."""
    before = _before(entry)
    if before is None and not isinstance(entry.mutation, Put):
        taken.findings.append(
            Finding(UndoState.UNKNOWN, "The journal does not hold the item that was there before.")
        )
        return image, item
    step, after = _step(entry, before, image, item)
    taken.steps.append(step)
    taken.findings.append(Finding(UndoState.TAKEN_BACK))
    return after, None if after is None else decode_image(after)


def _step(
    entry: Entry, before: bytes | None, image: bytes | None, item: Wire | None
) -> tuple[Step, bytes | None]:
    """Return what takes a write back, and the image that it leaves."""
    key, segment, mutation = entry.key, entry.segment, entry.mutation
    if isinstance(mutation, Delete):
        assert before is not None
        return Step(Put(key, before, ItemAbsent()), Missing(key=key, primary=before, segment=segment)), before
    assert image is not None
    assert item is not None
    if isinstance(mutation, Put):
        return Step(
            Delete(key, AttributesAre(item)), Extraneous(key=key, replica=image, segment=segment)
        ), None
    assert before is not None
    back = _patch_back(mutation, decode_image(before))
    after = encode_image(_patched(item, back))
    return Step(back, Different(key=key, primary=after, replica=image, segment=segment)), after


def _before(entry: Entry) -> bytes | None:
    """Return the item as it was just before a write: what the service returned, or what had been read."""
    return entry.outcome.old if entry.outcome is not None and entry.outcome.old is not None else entry.replica


def _touched(patch: Patch) -> list[str]:
    return [*patch.assign, *patch.remove]


def _patch_back(patch: Patch, before: Wire) -> Patch:
    names = _touched(patch)
    return Patch(
        patch.key,
        assign={name: before[name] for name in names if name in before},
        remove=[name for name in names if name not in before],
        precondition=AttributesAre({name: patch.assign.get(name) for name in names}),
    )


def _patched(item: Wire, patch: Patch) -> Wire:
    kept = {name: value for name, value in item.items() if name not in patch.remove}
    return kept | {name: dict(value) for name, value in patch.assign.items()}


# ── How the record is ───────────────────────────────────────────────────────────────────────────────


def _changed_since(entry: Entry, item: Wire | None) -> str | None:
    """Say how the record is not as a write left it; None when it is."""
    if isinstance(entry.mutation, Delete):
        return None if item is None else "There is an item under the key again."
    if item is None:
        return "The item was deleted since."
    if isinstance(entry.mutation, Put):
        names = differing_attributes(decode_image(entry.mutation.image), item)
    else:
        left = entry.mutation.assign
        names = [name for name in _touched(entry.mutation) if not _same(left.get(name), item.get(name))]
    return f"Attributes changed since: {', '.join(names)}." if names else None


def _is_as_before(entry: Entry, item: Wire | None) -> bool:
    """Tell whether a record is as it was before a write, in what that write changed."""
    if isinstance(entry.mutation, Put):
        return item is None
    before = _before(entry)
    if item is None or before is None:
        return False
    if isinstance(entry.mutation, Delete):
        return same_item(before, encode_image(item))
    old = decode_image(before)
    return all(_same(old.get(name), item.get(name)) for name in _touched(entry.mutation))


def _taken_back_already(entries: Sequence[Entry], image: bytes | None) -> int:
    """Return how many of the writes, from the newest on, a record is wholly without."""
    return max(
        (place + 1 for place, entry in enumerate(entries) if _is_wholly_before(entry, image)), default=0
    )


def _is_wholly_before(entry: Entry, image: bytes | None) -> bool:
    if entry.outcome is None:
        return False
    before = None if isinstance(entry.mutation, Put) else _before(entry)
    if before is None or image is None:
        return isinstance(entry.mutation, Put) and image is None
    return same_item(before, image)


def _same(left: WireValue | None, right: WireValue | None) -> bool:
    if left is None or right is None:
        return left is right
    return same_value(left, right)


def _unknown(entry: Entry, item: Wire | None) -> str:
    """Say why it is not known whether a write landed, and what the record looks like."""
    why = entry.error or "The journal ends before the outcome of this write."
    if _changed_since(entry, item) is None:
        looks = "The item is as the write would have left it: it looks as if it had landed."
    elif _is_as_before(entry, item):
        looks = "The item is as it was before: it looks as if the write had not landed."
    else:
        looks = "The item is neither as before the write nor as after it."
    return f"{why} {looks}"
