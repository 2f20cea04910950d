"""Shards and leases: every shard is followed once and after its parent, whatever splits, ends and is trimmed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep import UsageError
from asyncrep.aws.lease import LATEST, SHARD_END, TRIM_HORIZON, Lease
from asyncrep.aws.streams import Shard
from asyncrep.replicate.shards import Begin, Plan, check_same, plan, ready
from tests.support.strategies import thoroughly


def shards(text: str) -> list[Shard]:
    """Shards by `name<parent`; those with a `.` at the end are closed."""
    found = []
    for word in text.split():
        name, _, parent = word.rstrip(".").partition("<")
        found.append(Shard(name, parent or None, 1, 2 if word.endswith(".") else None))
    return found


def leases(text: str, parents: dict[str, str] | None = None) -> list[Lease]:
    """Leases by name; those with a `.` at the end are done with."""
    made = []
    for word in text.split():
        name = word.rstrip(".")
        above = frozenset({parents[name]} if parents and name in parents else ())
        made.append(
            Lease(key=name, checkpoint=SHARD_END if word.endswith(".") else TRIM_HORIZON, parents=above)
        )
    return made


def added(todo: Plan) -> list[dict[str, str]]:
    """What is added, generation by generation: names and checkpoints."""
    return [{lease.key: lease.checkpoint for lease in generation} for generation in todo.add]


TREE = "p. a<p. b<p c<a d<a"


def test_a_task_that_begins_with_all_there_is_follows_ancestors_first():
    todo = plan(shards(TREE), [], "trim-horizon")
    assert added(todo) == [
        {"p": TRIM_HORIZON},
        {"a": TRIM_HORIZON, "b": TRIM_HORIZON},
        {"c": TRIM_HORIZON, "d": TRIM_HORIZON},
    ]
    assert {lease.key: set(lease.parents) for generation in todo.add for lease in generation} == {
        "p": set(),
        "a": {"p"},
        "b": {"p"},
        "c": {"a"},
        "d": {"a"},
    }


def test_a_task_that_begins_with_what_comes_follows_the_open_shards():
    assert added(plan(shards(TREE), [], "latest")) == [{"b": LATEST, "c": LATEST, "d": LATEST}]


def test_what_descends_from_a_followed_shard_is_followed_from_its_beginning():
    todo = plan(shards("p. a<p. b<p c<a d<a x"), leases("p"), "latest")
    assert added(todo) == [
        {"a": TRIM_HORIZON, "b": TRIM_HORIZON, "x": LATEST},
        {"c": TRIM_HORIZON, "d": TRIM_HORIZON},
    ]


def test_a_child_is_known_by_its_trimmed_parents_lease():
    assert added(plan(shards("c<a"), leases("a."), "latest")) == [{"c": TRIM_HORIZON}]


def test_leases_of_a_worker_that_began_at_the_same_time_make_no_beginning():
    assert added(plan(shards("p. a<p b<p"), leases("a", {"a": "p"}), "latest")) == [{"b": LATEST}]


def test_nothing_is_asked_of_what_is_tracked():
    assert plan(shards(TREE), leases("p. a. b c d"), "latest") == Plan()


def test_ancestors_of_a_tracked_shard_are_not_followed_again():
    assert added(plan(shards(TREE), leases("b c d"), "trim-horizon")) == []


def test_who_comes_after_a_gap_is_followed_from_its_beginning():
    # a was followed; it, and its children, were trimmed before anybody saw them.
    todo = plan(shards("e<c f<c"), leases("a"), "latest")
    assert added(todo) == [{"e": TRIM_HORIZON, "f": TRIM_HORIZON}]
    assert [lease.key for lease in todo.lost] == ["a"]


def test_a_lease_is_of_no_use_when_its_shard_is_trimmed_done_with_and_followed_on():
    parents = {"a": "p", "b": "p"}
    assert [lease.key for lease in plan(shards("a<p b<p"), leases("p. a b", parents), "latest").remove] == [
        "p"
    ]
    not_done = plan(shards("a<p b<p"), leases("p a b", parents), "latest")
    assert (not_done.remove, [lease.key for lease in not_done.lost]) == ((), ["p"])
    assert plan(shards("a<p b<p"), leases("p. a", parents), "latest").remove == ()
    assert plan(shards("p. a<p b<p"), leases("p. a b", parents), "latest").remove == ()


def test_a_listing_without_shards_removes_nothing():
    assert plan([], leases("p. a"), "latest").remove == ()


def test_closed_shards_without_children_are_told():
    assert plan(shards("p. a<p. b<p"), [], "latest").leaves == {"a"}
    assert plan(shards(TREE), [], "latest").leaves == frozenset()


def test_a_closed_shard_without_children_is_followed_all_the_same():
    assert added(plan(shards("p. a<p."), [], "trim-horizon")) == [{"p": TRIM_HORIZON}, {"a": TRIM_HORIZON}]
    assert added(plan(shards("p. a<p."), leases("p."), "latest")) == [{"a": TRIM_HORIZON}]


def test_shards_that_descend_from_themselves_end():
    assert len(plan(shards("a<b. b<a. c<a"), [], "trim-horizon").add) == 3


@pytest.mark.parametrize(
    ("others", "expected"), [("", True), ("p", False), ("p.", True), ("p. q", False), ("p. q.", True)]
)
def test_a_shard_may_be_begun_when_its_parents_are_done_with_or_gone(others, expected):
    lease = Lease(key="a", checkpoint=TRIM_HORIZON, parents=frozenset({"p", "q"}))
    assert ready(lease, {each.key: each for each in leases(others)}) is expected


# ── The same task ───────────────────────────────────────────────────────────────────────────────────


def test_leases_of_the_same_tables_are_accepted():
    ours = Lease(key="a", checkpoint=LATEST, source="s", destinations="d")
    check_same([], {"a"}, "s", "d")
    check_same([ours], {"a"}, "s", "d")
    check_same([ours], {"z"}, "s", "d")
    check_same([*leases("a"), replace(ours, key="z")], {"b"}, "s", "d")


@pytest.mark.parametrize(("source", "destinations"), [("s", "e"), ("t", "d")])
def test_leases_of_other_tables_are_refused(source, destinations):
    theirs = Lease(key="a", checkpoint=LATEST, source=source, destinations=destinations)
    with pytest.raises(UsageError) as caught:
        check_same([*leases("b"), theirs], {"a", "b"}, "s", "d")
    assert str(caught.value) == (
        f"The task replicates {source} to {destinations}, not s to d; give this one a name of its own."
    )


def test_leases_of_kcl_are_accepted_by_their_shards_only():
    check_same(leases("a b"), {"b", "c"}, "s", "d")
    with pytest.raises(UsageError, match="follows another stream than that of s"):
        check_same(leases("a b"), {"c"}, "s", "d")


# ── Whole lives of streams ──────────────────────────────────────────────────────────────────────────


@dataclass
class Life:
    """A stream that splits and is trimmed, and a task that follows it now and then.

    Attributes:
        tree: all shards there ever were, with their parents.
        done: those that were followed to their ends, in order.
        hidden: the youngest children, which the next listing does not show.
    """

    begin: Begin
    tree: dict[str, str | None] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)
    trimmed: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    leases: dict[str, Lease] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    start: set[str] | None = None

    def grow(self, parent: str | None, children: int) -> None:
        for _ in range(children):
            name = f"s{len(self.tree):03}"
            self.tree[name] = parent
            self.open.append(name)

    def split(self, number: int, children: int, *, hidden: bool = False) -> None:
        """End an open shard, one that is not hidden itself; its children go on."""
        seen = [name for name in self.open if name not in self.hidden]
        if not seen:
            return
        parent = seen[number % len(seen)]
        self.open.remove(parent)
        before = set(self.tree)
        self.grow(parent, children)
        if hidden:
            self.hidden |= set(self.tree) - before

    def trim(self, count: int) -> None:
        """Forget the oldest closed shards."""
        closed = [name for name in self.tree if name not in self.open and name not in self.trimmed]
        self.trimmed.update(closed[:count])

    def listing(self) -> list[Shard]:
        shown = [name for name in self.tree if name not in self.trimmed | self.hidden]
        self.hidden = set()
        return [Shard(name, self.tree[name], 1, None if name in self.open else 2) for name in shown]

    def sync(self) -> None:
        listing = self.listing()
        todo = plan(listing, self.leases.values(), self.begin)
        for generation in todo.add:
            for lease in generation:
                assert lease.key not in self.leases
                assert lease.key not in self.done, "a shard is followed again"
                self.leases[lease.key] = lease
        for lease in todo.remove:
            assert lease.is_finished
            del self.leases[lease.key]
        if self.start is None:
            parents = {shard.parent for shard in listing}
            everything = self.begin == "trim-horizon"
            self.start = {shard.id for shard in listing if everything or shard.id not in parents}

    def follow(self, count: int) -> None:
        """Follow some shards to their ends, those that can be."""
        for lease in sorted(self.leases.values(), key=lambda lease: lease.key, reverse=True):
            if count and lease.key not in self.open and not lease.is_finished and ready(lease, self.leases):
                self.leases[lease.key] = replace(lease, checkpoint=SHARD_END)
                self.done.append(lease.key)
                count -= 1

    def owed(self) -> set[str]:
        """The shards that were to be followed: where the task began, and all that descends from that."""
        owed: set[str] = set(self.start or ())
        for name, parent in self.tree.items():  # parents come before their children
            if parent in owed:
                owed.add(name)
        return owed


steps = st.lists(
    st.tuples(
        st.sampled_from(["split", "roll", "hide", "trim", "sync", "sync", "follow", "follow"]),
        st.integers(0, 5),
    ),
    max_size=40,
)


def lived(begin: Begin, roots: int, moves: list[tuple[str, int]], *, careful: bool) -> Life:
    """A life in steps, which ends with everything followed; careful: nothing is trimmed unread."""
    life = Life(begin)
    life.grow(None, roots)
    life.split(0, 2)
    life.sync()
    for move, number in moves:
        match move:
            case "split" | "roll" | "hide":
                life.split(number, 1 if move == "roll" else 2, hidden=move == "hide")
            case "trim":
                unread = life.owed() - set(life.done) - set(life.open)
                closed = [name for name in life.tree if name not in life.open and name not in life.trimmed]
                first_unread = next((at for at, name in enumerate(closed) if name in unread), len(closed))
                life.trim(min(number, first_unread) if careful else number)
            case "sync":
                life.sync()
            case "follow":
                life.follow(number)
    life.hidden = set()
    while True:
        life.sync()
        before = len(life.done)
        life.follow(1000)
        if len(life.done) == before:
            return life


@thoroughly
@given(st.sampled_from(["trim-horizon", "latest"]), st.integers(1, 3), steps)
def test_every_shard_is_followed_once_and_after_its_parent(begin, roots, moves):
    life = lived(begin, roots, moves, careful=True)
    owed = life.owed()
    assert len(life.done) == len(set(life.done))
    assert set(life.done) == owed - set(life.open)
    assert set(life.open) <= life.leases.keys()
    place = {name: at for at, name in enumerate(life.done)}
    for name in life.done:
        parent = life.tree[name]
        assert parent not in owed or place[parent] < place[name], f"{name} came before its parent"


@thoroughly
@given(st.sampled_from(["trim-horizon", "latest"]), st.integers(1, 3), steps)
def test_what_is_trimmed_unread_makes_nothing_else_left_out(begin, roots, moves):
    life = lived(begin, roots, moves, careful=False)
    owed = life.owed()
    assert len(life.done) == len(set(life.done))
    assert owed - life.trimmed <= set(life.done) | set(life.open)
    assert set(life.open) & owed <= life.leases.keys()
    place = {name: at for at, name in enumerate(life.done)}
    for name in life.done:
        parent = life.tree[name]
        assert parent not in place or place[parent] < place[name], f"{name} came before its parent"


@thoroughly
@given(st.sampled_from(["trim-horizon", "latest"]), st.integers(1, 3), steps)
def test_leases_of_trimmed_shards_do_not_pile_up(begin, roots, moves):
    life = lived(begin, roots, moves, careful=True)
    life.sync()
    assert not life.leases.keys() & life.trimmed
