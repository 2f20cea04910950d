"""The policy of two-way mirrors: a higher version wins, whichever side it was written on.

Every item has a version in one of its attributes, which each of its writers makes higher on condition that
it is still the one that the writer has read. A mirror puts a version only over a lower one or none, and
deletes a version only if there is none that is higher; what it has deleted it notes in the guard table, in
the same transaction, so that a put that comes late does not bring it back. Every write of a mirror takes a
step up in the one order of facts (``asyncrep.replicate.facts``), so mirrors that face each other fall silent.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from asyncrep.aws.guard import Expressions, require
from asyncrep.aws.transact import Action
from asyncrep.change import ChangeKind, Fate
from asyncrep.errors import ServiceError, UsageError
from asyncrep.items.equality import decode_image, is_compared
from asyncrep.mutation import AttributesAre, Put
from asyncrep.replicate.facts import Fact, OddVersionError, is_setback, version_in
from asyncrep.replicate.grouping import Tally, by_key, for_each
from asyncrep.replicate.selection import Selection, Unmakeable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.aws.table import Table
    from asyncrep.aws.transact import Transacted
    from asyncrep.change import Applied, Change
    from asyncrep.replicate.facts import Version
    from asyncrep.replicate.guard import GuardTable

_TRIES = 8  # how often an item is looked at anew that somebody else keeps changing


class VersionGuarded:
    """Brings changes to a destination that is written to by others, too. See ``asyncrep.change.Applier``.

    A conflict, two contents of one version, is told of with ``Fate.CONFLICT`` also when it was settled by
    writing. Of several changes of an item that come together only the highest is written.

    Args:
        table: the destination.
        guard: keeps the versions at which items were deleted.
        attribute: the attribute that holds an item's version, a number or a text; it only ever grows.
        selection: what is replicated; items are copied whole, so it may leave out no attribute.

    Raises:
        UsageError: the selection changes items, or the version is part of the key.
    """

    def __init__(
        self, table: Table, guard: GuardTable, attribute: str, selection: Selection | None = None
    ) -> None:
        self._table = table
        self._guard = guard
        self._attribute = attribute
        self._selection = selection or Selection()
        check_versions(table, attribute, self._selection)

    @property
    def label(self) -> str:
        """The destination as its user named it."""
        return self._table.label

    async def apply(self, changes: Sequence[Change]) -> Applied:
        """Write each item's highest version; see ``asyncrep.change.Applier.apply``."""
        tally = Tally()

        async def bring(group: list[Change]) -> None:
            await self._bring(group, tally)

        await for_each(by_key(changes), bring)
        return tally.applied()

    async def _bring(self, group: list[Change], tally: Tally) -> None:
        """Write the highest of an item's facts; when it is poison, the one below.

        When it fails in passing those below fail with it: it may turn out to be poison. What is to be said of
        them is said only when it no longer fails, and so once.
        """
        facts = [fact for change in group if (fact := self._fact(change, tally)) is not None]
        if len(facts) > 1:
            facts.sort(key=lambda fact: fact.rank)
        while facts:
            fact = facts.pop()
            course = _Course(self._table, self._guard, self._attribute, fact)
            fate = await course.run([below.change for below in facts], tally)
            if fate is Fate.FAILED:
                return
            if fate is not Fate.POISON:
                self._pass_over([*facts, fact], tally)
                return

    def _pass_over(self, facts: list[Fact], tally: Tally) -> None:
        """Note all but the last of an item's facts, which makes them superfluous; some are to be told of."""
        for fact, above in pairwise(facts):
            reason = _setback(fact) if is_setback(fact.change, self._attribute) else _twins(fact, above)
            if reason:
                tally.add(fact.change, Fate.CONFLICT, reason)
            else:
                tally.squashed += 1

    def _fact(self, change: Change, tally: Tally) -> Fact | None:
        """Return what a change says, None when it is not to be replicated, or says nothing usable."""
        wanted = self._selection.wanted(change)
        if wanted is None:
            tally.squashed += 1
            return None
        if isinstance(wanted, Unmakeable):
            tally.add(change, Fate.POISON, wanted.reason)
            return None
        made = self._fact_of(change, deleted=wanted.image is None)
        if isinstance(made, str):
            tally.add(change, Fate.POISON, made)
            return None
        return made

    def _fact_of(self, change: Change, *, deleted: bool) -> Fact | str:
        """Return the fact, or one sentence that says why there is none."""
        image = change.old if change.kind is ChangeKind.REMOVE else change.new
        if image is None:
            return (
                f"The record of this {change.kind} holds no old image, and so no version; the stream's view must "
                "be NEW_AND_OLD_IMAGES."
            )
        try:
            version = version_in(image, self._attribute)
        except OddVersionError as odd:
            return str(odd)
        if version is None:
            return f'The item has no version: it lacks "{self._attribute}".'
        return Fact(change, version, image, deleted)


def check_versions(table: Table, attribute: str, selection: Selection) -> None:
    """Refuse what no two-way mirror can do; asks nobody.

    Raises:
        UsageError: the selection changes items, or the version is part of the key.
    """
    if not selection.copies_whole_items:
        raise UsageError(
            "A two-way mirror copies whole items: with attributes left out or renamed, one version would "
            "not be the same on both sides."
        )
    if attribute in {each.name for each in table.settings.schema.attributes}:
        raise UsageError(f'"{attribute}" is part of the key of {table.label} and cannot be its version.')


class _Verdict(NamedTuple):
    """What became of a fact."""

    written: bool
    fate: Fate | None = None
    reason: str = ""


_WRITTEN = _Verdict(written=True)
_SETTLED = frozenset({Fate.SUPERSEDED, Fate.CONFLICT})


class _Course:
    """The course of one fact at one destination."""

    def __init__(self, table: Table, guard: GuardTable, attribute: str, fact: Fact) -> None:
        self._table = table
        self._guard = guard
        self._attribute = attribute
        self._fact = fact
        self._key = fact.change.key
        self._conflict = ""  # told of whatever becomes of it: nobody may meet it again
        self._maybe_ours = False  # what is there may be what we wrote without being told

    async def run(self, below: Sequence[Change], tally: Tally) -> Fate | None:
        """Carry the fact out; return why it is not, None when it is.

        Args:
            below: the changes of the item that this fact makes superfluous, unless it fails: then they do, too.
            tally: what becomes of them.
        """
        change = self._fact.change
        try:
            verdict = await (self._delete() if self._fact.deleted else self._put())
        except ServiceError as error:
            self._tell_conflict(tally, "This is not settled yet.")
            return Fate.POISON if tally.refuse(change, below, error) else Fate.FAILED
        tally.written += verdict.written
        self._tell_conflict(tally, verdict.reason or _outcome(self._fact))
        settled = verdict.fate is None or (self._conflict and verdict.fate in _SETTLED)
        if verdict.fate is Fate.FAILED:
            tally.fail(change, below, verdict.reason)
        elif verdict.fate is not None and not settled:
            tally.add(change, verdict.fate, verdict.reason)
        return verdict.fate

    def _tell_conflict(self, tally: Tally, outcome: str) -> None:
        if self._conflict:
            tally.add(self._fact.change, Fate.CONFLICT, f"{self._conflict} {outcome}")

    # ── Puts

    async def _put(self) -> _Verdict:
        made = Expressions()
        made.condition = self._absent_or_lower(made)
        actions = [
            Action("Put", self._table.request_name, self._fact.image, made),
            self._guard.check_version(self._key, self._fact.version.value),
        ]
        for _ in range(_TRIES):
            result = await self._table.transact(actions)
            if result.applied:
                return _WRITTEN
            verdict = self._judge_put(result)
            if isinstance(verdict, _Verdict):
                return verdict
            if verdict is not None and await self._overwrite(verdict):
                return _WRITTEN
        return self._unsettled()

    def _judge_put(self, result: Transacted) -> _Verdict | bytes | None:
        """Return what is to be said of a refused put, the image to overwrite, or None to try again."""
        there, buried = result.refused
        self._maybe_ours |= result.unsure
        if there is not None and there.current is not None:
            verdict = self._compare(there.current)
            if verdict is not None:
                return verdict
            if self._fact.says_the_same_as(there.current):
                return _WRITTEN if self._maybe_ours else _Verdict(written=False, fate=Fate.SUPERSEDED)
            self._conflict = f"Version {self._fact.version} has two contents."
            if buried is None and self._fact.beats(there.current):
                return there.current
            return _Verdict(written=False, fate=Fate.CONFLICT, reason="The destination's was kept.")
        if buried is not None and buried.current is not None:
            return self._judge_buried(buried.current)
        return None

    def _judge_buried(self, row: bytes) -> _Verdict:
        """Judge a put below a tombstone: a late echo, or somebody went on where the item should be gone.

        A mirror that comes late can bring an item back for a moment, until it hears of the deletion. What
        is put then is an INSERT. Who changes the item in that moment leaves a MODIFY, and loses it.
        """
        version = version_in(row, "version")
        if version is not None and not version.is_like(self._fact.version):
            return self._not_comparable(version)
        verdict = self._superseded(f"It was deleted at version {version}; versions must go on from there.")
        if self._fact.change.kind is ChangeKind.MODIFY:
            return verdict._replace(fate=Fate.CONFLICT)
        return verdict

    async def _overwrite(self, image: bytes) -> bool:
        """Put the winner of a conflict over the loser, if the loser is still there."""
        item = decode_image(image)
        expected = {self._attribute: item[self._attribute]} | item  # what does not fit is not checked
        put = Put(self._key, self._fact.image, AttributesAre(expected))
        outcome = await self._table.apply(put)
        self._maybe_ours |= outcome.unsure
        return outcome.applied

    # ── Deletions

    async def _delete(self) -> _Verdict:
        """Delete the item and note it; it is noted where a higher version is there, too.

        Else a put of what was deleted could come late and find neither: the higher version may be deleted
        by a writer, who notes nothing. No version at or below a tombstone is ever there with it.
        """
        bury = [self._guard.bury(self._key, self._fact.version.value)]
        known: bytes | None = None
        for _ in range(_TRIES):
            result = await self._table.transact([self._deletion(known), *bury])
            if result.applied:
                return _WRITTEN
            there, *buried = result.refused
            if any(buried):
                bury = []  # a tombstone of this version or a higher one is there already
            if there is not None and there.current is not None:
                verdict = self._judge_delete(there.current)
                if verdict is None:
                    known = there.current
                elif not bury or verdict.fate is Fate.POISON or await self._bury_below(*bury):
                    return verdict
        return self._unsettled()

    async def _bury_below(self, bury: Action) -> bool:
        """Note a deletion below the higher version that is there; tell whether it is noted, and still there."""
        made = Expressions()
        made.condition = f"{made.name(self._attribute)}>{made.value(self._fact.version.value)}"
        higher = Action("ConditionCheck", self._table.request_name, self._key, made)
        result = await self._table.transact([higher, bury])
        return result.applied or result.refused[1] is not None

    def _judge_delete(self, image: bytes) -> _Verdict | None:
        verdict = self._compare(image)
        if verdict is None and not self._fact.says_the_same_as(image):
            self._conflict = f"Version {self._fact.version} was deleted, and another content of it was there."
        return verdict

    def _deletion(self, known: bytes | None) -> Action:
        """Delete a lower version, or this one if its content is what was deleted or is ``known`` to be there.

        A content that is too large for a condition is only deleted once it is known.
        """
        made = Expressions()
        name, value = made.name(self._attribute), made.value(self._fact.version.value)
        lower = f"attribute_not_exists({name}) OR {name}<{value}"
        made.condition = f"{lower} OR {name}={value}"
        names = {self._attribute, *(each.name for each in self._table.settings.schema.attributes)}
        content = decode_image(self._fact.image if known is None else known)
        require(made, {each: of for each, of in content.items() if each not in names and is_compared(each)})
        if known is None and made.unguarded:
            made = Expressions()
            made.condition = self._absent_or_lower(made)
        return Action("Delete", self._table.request_name, self._key, made)

    # ── Both

    def _absent_or_lower(self, made: Expressions) -> str:
        name = made.name(self._attribute)
        return f"attribute_not_exists({name}) OR {name}<{made.value(self._fact.version.value)}"

    def _compare(self, image: bytes) -> _Verdict | None:
        """Judge by the version that is there; None when it is the same, or has only just become lower."""
        try:
            there = version_in(image, self._attribute)
        except OddVersionError as odd:
            return _Verdict(written=False, fate=Fate.POISON, reason=f"At the destination: {odd}")
        if there is None:
            return None
        mine = self._fact.version
        if not there.is_like(mine):
            return self._not_comparable(there)
        if there.rank > mine.rank:
            return self._superseded(f"The destination holds version {there}.")
        return None

    def _not_comparable(self, there: Version) -> _Verdict:
        mine = self._fact.version
        reason = f"The destination's version is {there.value}, which cannot be compared with {mine.value}."
        return _Verdict(written=False, fate=Fate.POISON, reason=reason)

    def _superseded(self, reason: str) -> _Verdict:
        if is_setback(self._fact.change, self._attribute):
            return _Verdict(written=False, fate=Fate.CONFLICT, reason=_setback(self._fact))
        return _Verdict(written=False, fate=Fate.SUPERSEDED, reason=reason)

    def _unsettled(self) -> _Verdict:
        reason = "Somebody else kept changing the item at the destination."
        return _Verdict(written=False, fate=Fate.FAILED, reason=reason)


def _outcome(fact: Fact) -> str:
    return "It was deleted, too." if fact.deleted else "The source's was written over the destination's."


def _twins(fact: Fact, above: Fact) -> str:
    """Say so when a version was put twice, with two contents; both came in one batch."""
    same = fact.version.rank == above.version.rank and not fact.deleted and not above.deleted
    if not same or fact.says_the_same_as(above.image):
        return ""
    return f"Version {fact.version} has two contents. The other one was taken."


def _setback(fact: Fact) -> str:
    return f"The source went back to version {fact.version} from a higher one, which is not replicated."
