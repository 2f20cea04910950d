"""Sees what strong reads showed, what every write took away, and what the journal says of it."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asyncrep.items.equality import decode_image
from asyncrep.jobs.entries import DamagedLineError, Intent, Settled, parse_line
from asyncrep.model import Side, State
from asyncrep.mutation import Delete, Patch, Put
from tests.support.simulated.tables import name_of
from tests.support.simulated.writers import Marks, marks

if TYPE_CHECKING:
    from asyncrep.model import Discrepancy
    from asyncrep.mutation import Mutation, Outcome
    from tests.support.simulated.world import Process, World
    from tests.support.values import Item

SIDES: tuple[Side, Side] = ("primary", "replica")

Number = tuple[str, int]
"""An intent: its writer and its number."""


def same(ours: Item | None, theirs: Item | None, ignored: frozenset[str]) -> bool:
    """Whether both sides of a record agree, in all that is compared."""
    if ours is None or theirs is None:
        return ours is theirs
    return all(name in ignored for name, _ in marks(ours) ^ marks(theirs))


@dataclass
class Evidence:
    """What one job, or one run without a job, has seen.

    Attributes:
        shown: by side and record, the moments and items of strong reads that were answered.
        walked: the sides and segments that were scanned to their end.
        deleted: records that were not put by this job, and that it deleted.
        puts: what it put, by record.
    """

    shown: dict[tuple[Side, str], list[tuple[int, Item | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    walked: set[tuple[Side, int]] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    puts: dict[str, Item] = field(default_factory=dict)

    def see_read(self, side: Side, name: str, item: Item | None, moment: int) -> None:
        """Take note of a strong read."""
        self.shown[side, name].append((moment, item))

    def has_seen(self, side: Side, name: str, image: bytes | None) -> bool:
        """Whether a strong read has shown exactly this."""
        if image is None:
            return any(item is None for _, item in self.shown[side, name])
        wanted = marks(decode_image(image))
        return any(item is not None and marks(item) == wanted for _, item in self.shown[side, name])


@dataclass
class Landing:
    """A write of asyncrep that arrived at the replica.

    Attributes:
        number: its intent, if one was durable.
        outcome: what the process was told; None when it did not live to see the answer.
        taken: the attributes that a deletion took along, which came after the read.
    """

    moment: int
    name: str
    mutation: Mutation
    number: Number | None
    before: Item | None
    after: Item | None
    process: Process
    evidence: Evidence
    outcome: Outcome | None = None
    taken: frozenset[str] = frozenset()


@dataclass
class Change:
    """A change of a record of the replica."""

    moment: int
    name: str
    before: Item | None
    after: Item | None
    by: str


class Witness:
    """Sees everything, and collects what must not happen.

    Attributes:
        violations: sentences.
        landings: every write of asyncrep that landed.
        changes: every change of the replica, by record.
        intents: what is durable of journals, by number; by place of the journal.
    """

    def __init__(self, world: World) -> None:
        self.violations: list[str] = []
        self.landings: list[Landing] = []
        self.changes: dict[str, list[Change]] = defaultdict(list)
        self.intents: dict[str, dict[Number, Intent]] = defaultdict(dict)
        self.settled: dict[str, dict[Number, Settled]] = defaultdict(dict)
        self.trace: list[tuple[Any, ...]] = []
        self._world = world
        self._journal_of: dict[Number, str] = {}

    def accuse(self, sentence: str) -> None:
        """Take note of something that must not happen."""
        self.trace.append((self._world.moment, "VIOLATION", sentence))
        self.violations.append(sentence)

    # ── What becomes durable ────────────────────────────────────────────────────────────────────────

    def see_object(self, full: str, data: bytes) -> None:
        """Read what was added to a journal."""
        place, _, name = full.rpartition("/")
        self.trace.append((self._world.moment, "object", full, len(data)))
        if place == "job" or name == "journal.jsonl":
            return
        for line in data.split(b"\n"):
            if not line:
                continue
            try:
                record = parse_line(line)
            except DamagedLineError as error:
                self.accuse(f"{full} holds a damaged line: {error}")
                continue
            number = record.by, record.n
            if isinstance(record, Intent):
                self.intents[place][number] = record
                self._journal_of[number] = place
            else:
                self.settled[place][number] = record

    def _intent_of(self, mutation: Mutation, process: Process) -> Intent | None:
        """The latest durable intent of a process that says just this."""
        by = process.journal.by if process.journal is not None else ""
        for intents in reversed(self.intents.values()):
            for intent in reversed(intents.values()):
                if intent.by == by and intent.key == mutation.key and _same_deed(intent.mutation, mutation):
                    return intent
        return None

    # ── What is written ─────────────────────────────────────────────────────────────────────────────

    def see_sent(self, side: Side, mutation: Mutation, process: Process) -> None:
        """Take note of a write that is on its way."""
        self.trace.append((self._world.moment, "sent", process.purpose, repr(mutation)))
        if side == "primary":
            self.accuse(f"a write was sent to the primary: {mutation}")

    def see_change(self, name: str, before: Item | None, after: Item | None, by: str) -> None:
        """Take note of a change of the replica, whoever made it."""
        self.trace.append((self._world.moment, by, name, repr(before), repr(after)))
        self.changes[name].append(Change(self._world.moment, name, before, after, by))

    def see_landing(
        self, side: Side, mutation: Mutation, before: Item | None, after: Item | None, process: Process
    ) -> str:
        """Check a write that has just landed; return whom it is by."""
        name, evidence = name_of(mutation.key), process.evidence
        intent = self._intent_of(mutation, process)
        number = None if intent is None else (intent.by, intent.n)
        moment = self._world.tick()
        self.landings.append(Landing(moment, name, mutation, number, before, after, process, evidence))
        if side == "primary":
            self.accuse(f"{name} of the primary was written to")
        if intent is None:
            self.accuse(f"{name} was written before its intent was durable")
            return process.purpose
        self._check_loss(name, mutation, intent, marks(before) - marks(after), process)
        if isinstance(mutation, Put):
            evidence.puts[name] = after or {}
        if isinstance(mutation, Delete) and process.purpose == "repair":
            self._check_deletion(name, intent, process)
        return process.purpose

    def _check_loss(
        self, name: str, mutation: Mutation, intent: Intent, lost: Marks, process: Process
    ) -> None:
        as_read = marks(decode_image(intent.replica)) if intent.replica is not None else frozenset()
        known = dict(as_read)
        for mark in lost - as_read:
            # What a deletion takes that came after the read is the limit of the promise.
            if not (isinstance(mutation, Delete) and mark[0] not in known):
                self.accuse(f"{name}: {mark} was lost, and the intent does not hold it")
            else:
                self.landings[-1].taken |= {mark[0]}
        if process.purpose == "repair" and not process.evidence.has_seen("replica", name, intent.replica):
            self.accuse(f"{name}: no strong read has shown what the intent says was there")

    def _check_deletion(self, name: str, intent: Intent, process: Process) -> None:
        evidence = process.evidence
        ours = evidence.puts.get(name)
        if ours is not None and intent.replica and marks(ours) == marks(decode_image(intent.replica)):
            return
        evidence.deleted.add(name)
        if process.ended != {"primary", "replica"}:
            self.accuse(f"{name} was deleted before both walks had ended")
        if len(evidence.walked) != 2 * self._world.segments:
            self.accuse(f"{name} was deleted before all segments had been scanned")

    def see_answer(self, mutation: Mutation, outcome: Outcome) -> None:
        """Take note of what a process was told of its write."""
        for landing in reversed(self.landings):
            if landing.mutation is mutation:
                landing.outcome = outcome
                return

    # ── What is told ────────────────────────────────────────────────────────────────────────────────

    def see_told(self, found: Discrepancy, process: Process) -> None:
        """Check a discrepancy that reached its final state."""
        name, evidence = name_of(found.key), process.evidence
        self.trace.append((self._world.moment, "told", name, found.kind, found.state.value, found.reason))
        for side, image in (("primary", found.primary), ("replica", found.replica)):
            if not evidence.has_seen(side, name, image):  # type: ignore[arg-type]
                self.accuse(f"{name} was told {found.kind}, and no strong read of the {side} has shown that")
        self.check_said(name, found.reason, process)
        if found.state is State.REPAIRED:
            self._check_verified(name, process)

    def check_said(self, name: str, reason: str | None, process: Process) -> None:
        """Check that what a deletion took along is told, if the process was told of it."""
        for landing in self.landings:
            if (
                landing.name == name
                and landing.process is process
                and landing.outcome
                and landing.outcome.applied
            ):
                _, _, said = (reason or "").partition("since it was read: ")
                if not landing.taken <= set(re.findall(r"\w+", said)):
                    self.accuse(
                        f"a deletion of {name} took {sorted(landing.taken)} along, and is told as: {reason}"
                    )

    def _check_verified(self, name: str, process: Process) -> None:
        landed = [
            landing
            for landing in self.landings
            if landing.name == name
            and landing.evidence is process.evidence
            and (landing.process is process or landing.moment < process.began)
        ]
        if not landed:
            return
        last = landed[-1]
        ours, theirs = (
            [item for moment, item in process.evidence.shown[side, name] if moment > last.moment]
            for side in SIDES
        )
        if not any(
            _agrees(last, mine, self._world.ignored)  # the write is still right, or a confirmation said so
            or any(same(mine, other, self._world.ignored) for other in theirs)
            for mine in ours
        ):
            self.accuse(f"{name} was told repaired, and no strong read of the primary has verified that")

    # ── What the journal says ───────────────────────────────────────────────────────────────────────

    def check_journal(self, place: str) -> None:
        """Check that a journal tells the truth, and all of it what processes told it that closed it."""
        landed: dict[Number, list[Landing]] = defaultdict(list)
        for landing in self.landings:
            if landing.number is not None:
                landed[landing.number].append(landing)
        for number in self.intents[place]:
            settled, there = self.settled[place].get(number), landed.get(number, [])
            self._check_outcome(number, settled, there)
            if settled is None and any(landing.outcome and landing.process.closed for landing in there):
                self.accuse(f"the journal does not tell the outcome of {number}")

    def _check_outcome(self, number: Number, settled: Settled | None, there: list[Landing]) -> None:
        if settled is None or settled.applied is None:
            return
        if settled.applied is False and there:
            self.accuse(f"the journal says that {number} was not applied, and it was")
        if settled.applied is True:
            if not there:
                self.accuse(f"the journal says that {number} was applied, and it was not")
                return
            old = None if settled.old is None else decode_image(settled.old)
            if marks(old) != marks(there[-1].before):
                self.accuse(f"the journal does not hold the true old image of {number}")


def _same_deed(left: Mutation, right: Mutation) -> bool:
    if isinstance(left, Put) and isinstance(right, Put):
        return decode_image(left.image) == decode_image(right.image)
    if isinstance(left, Patch) and isinstance(right, Patch):
        return dict(left.assign) == dict(right.assign) and set(left.remove) == set(right.remove)
    return isinstance(left, Delete) and isinstance(right, Delete)


def _agrees(landing: Landing, item: Item | None, ignored: frozenset[str]) -> bool:
    """Whether the primary's item is what a write has made of the replica's, in what it changed."""
    if item is None or landing.after is None:
        return item is landing.after
    mutation = landing.mutation
    theirs, ours = dict(marks(item)), dict(marks(landing.after))
    names = {*mutation.assign, *mutation.remove} if isinstance(mutation, Patch) else {*theirs, *ours}
    return all(theirs.get(name) == ours.get(name) for name in names - ignored)
