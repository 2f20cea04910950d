"""What was begun and not decided: in the mark from the moment it leaves a scan until somebody has counted it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import Raw

from asyncrep.diff.confirm import Candidate
from asyncrep.diff.track import Resumed, Track
from asyncrep.jobs.mark import Mark, Reached, Undecided, Written
from asyncrep.model import Page
from tests.support.scenario import item, key

if TYPE_CHECKING:
    from asyncrep.jobs.mark import MetOn


def candidate(name: str, met_on: MetOn = "primary") -> Candidate:
    return Candidate(key(name), 1, 9, met_on)


def page(*names: str) -> Page:
    return Page(1, [Raw(json.dumps(item(name)).encode()) for name in names])


def key_of(image: Raw) -> bytes:
    return key(json.loads(bytes(image))["id"]["S"])


def left(track: Track) -> set[tuple[str, str]]:
    return {(entry.key, entry.met_on) for entry in track.mark().undecided}


def named(*names: str, met_on: MetOn = "primary") -> set[tuple[str, str]]:
    return {(key(name).decode(), met_on) for name in names}


def test_a_batch_is_undecided_until_it_is_closed_but_for_its_candidates() -> None:
    track = Track()
    batch = page("a", "b", "c")
    track.open_batch("primary", batch, key_of)
    assert left(track) == named("a", "b", "c")
    assert track.mark().at("primary", 1) == Reached(key("c").decode())
    track.close_batch(batch, [candidate("b")])
    assert left(track) == named("b")
    track.close(key("b"), "primary")
    assert left(track) == set()


def test_a_record_that_is_handed_over_stays_until_it_is_concluded() -> None:
    track = Track()
    track.open([candidate("a")])
    track.hand_over(candidate("a"))
    assert left(track) == named("a")
    assert track.mark().unsaid == [key("a").decode()]
    track.concluded(key("a"))
    assert (left(track), track.mark().unsaid) == (set(), [])


def test_both_scans_may_have_met_a_record() -> None:
    track = Track()
    track.open([candidate("a"), candidate("a", "replica")])
    track.close(key("a"), "primary")
    assert left(track) == named("a", met_on="replica")


def test_what_waits_in_a_window_is_undecided() -> None:
    track = Track()
    track.window = lambda: [Undecided(key("w").decode(), "replica", 1, 3)]
    assert left(track) == named("w", met_on="replica")


def test_a_mark_is_a_moment_and_does_not_change() -> None:
    track = Track()
    track.move("primary", 0, key("a"))
    mark = track.mark()
    track.move("primary", 0, key("b"))
    track.end("primary", 0)
    assert mark.at("primary", 0) == Reached(key("a").decode())
    assert track.mark().at("primary", 0) == Reached(key("b").decode(), ended=True)
    assert track.mark().at("replica", 0) == Reached()


def test_a_run_takes_up_what_was_left_on_its_sides() -> None:
    entries = [Undecided(key(met).decode(), met, 1, 2) for met in ("primary", "replica", "both")]
    track = Track(Resumed(Mark(undecided=entries, reached={"primary": {1: Reached("x", ended=True)}})))
    assert track.at("primary", 1).ended
    assert {entry.met_on for entry in track.take_up(["primary"])} == {"primary", "both"}
    assert {entry.met_on for entry in track.take_up(["replica"])} == {"replica"}
    assert {entry.met_on for entry in track.take_up(["primary", "replica"])} == {"primary", "replica", "both"}
    assert len(track.mark().undecided) == 3
    track.close(key("primary"), "primary")
    assert len(track.mark().undecided) == 2


def test_writes_that_nobody_told_are_told_unless_they_are_met_again() -> None:
    written = {key(name): Written(key(name), kind, 1, None) for name, kind in
               (("met", "missing"), ("behind", "missing"), ("gone", "extraneous"))}  # fmt: skip
    track = Track(Resumed(Mark(), written, {"by": 4}))
    track.open([candidate("met")])
    assert [each.key for each in track.unsaid()] == [key("behind")]
    assert set(track.mark().unsaid) == {key(name).decode() for name in ("met", "behind", "gone")}
    assert track.mark().writes == {"by": 4}
    track.concluded(key("behind"))
    assert track.unsaid() == []


NAMES = st.sampled_from("abcdef")


class Tracking(RuleBasedStateMachine):
    """A track against the plain meaning of its words: each record is open, owned or neither."""

    @initialize()
    def begin(self) -> None:
        self.track = Track()
        self.open: set[str] = set()
        self.owned: set[str] = set()

    @rule(name=NAMES)
    def meet(self, name: str) -> None:
        self.track.open([candidate(name)])
        self.open.add(name)

    @rule(name=NAMES)
    def close(self, name: str) -> None:
        self.track.close(key(name), "primary")
        self.open.discard(name)

    @rule(name=NAMES)
    def hand_over(self, name: str) -> None:
        self.track.hand_over(candidate(name))
        self.open.discard(name)
        self.owned.add(name)

    @rule(name=NAMES)
    def conclude(self, name: str) -> None:
        self.track.concluded(key(name))
        self.owned.discard(name)

    @rule()
    def resume(self) -> None:
        """Another process goes on: what was owned is to be looked at again."""
        self.track = Track(Resumed(self.track.mark()))
        self.open |= self.owned
        self.owned = set()

    @invariant()
    def all_are_in_the_mark(self) -> None:
        assert left(self.track) == named(*self.open, *self.owned)


TestTracking = Tracking.TestCase
