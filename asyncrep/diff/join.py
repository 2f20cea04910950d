"""Joins what two scans of one segment deliver, page by page, in whatever order the items come.

Two tables whose items come in the same order are compared like two texts: as long as both go on with
the same bytes, nothing but those bytes is looked at. Where they part, the nearest place is looked for
where they agree again, and what lies between is *set aside*: only of that the key is read, and by key it
meets its partner, whenever that one is set aside too. Order, pages and hashes decide how much is set
aside, never what is found: in the end each item was either met byte for byte or set aside.
"""

from __future__ import annotations

from itertools import compress, count, islice, takewhile
from operator import ne
from typing import TYPE_CHECKING

from asyncrep.items.equality import same_item
from asyncrep.model import KeyedImage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from msgspec import Raw

    from asyncrep.model import Side

_BLOCK = 64
"""Items compared in one step while both sides agree."""

_REACH = 64
"""How far ahead a place is looked for where both sides agree again."""

_OVERHEAD = 250
"""Bytes that an entry takes besides its key and image: three objects and its place in a dictionary."""


SIDES: tuple[Side, Side] = ("primary", "replica")


class _Arrivals:
    """What one side's scan has delivered and is not done with.

    Attributes:
        fresh: images in the order they came, whose keys nobody has read yet.
        waiting: what was set aside without meeting its partner, by key, oldest first.
        weight: the bytes that ``waiting`` holds.
        ended: the side's scan is over.
    """

    __slots__ = ("_last", "ended", "fresh", "waiting", "weight")

    def __init__(self) -> None:
        self.fresh: list[Raw] = []
        self.waiting: dict[bytes, bytes] = {}
        self.weight = 0
        self.ended = False
        self._last: Raw | None = None

    def advance(self, images: int | None = None) -> None:
        """Be done with the first fresh images, all of them by default."""
        count = len(self.fresh) if images is None else images
        if count:
            self._last = self.fresh[count - 1]
            del self.fresh[:count]

    def take_last(self) -> Raw | None:
        """Return the last image that is fresh no more, None if there was none since the last call."""
        last, self._last = self._last, None  # a slice that is kept would keep its whole page
        return last

    @property
    def exhausted(self) -> bool:
        """Whether nothing more of this side will ever be set aside."""
        return self.ended and not self.fresh

    def keep(self, key: bytes, image: Raw) -> None:
        """Let an entry wait for its partner; a copy, because a slice would keep its whole page."""
        self.forget(key)  # an engine that delivers an item twice
        self.waiting[key] = bytes(image)
        self.weight += len(key) + len(image) + _OVERHEAD

    def forget(self, key: bytes) -> bytes | None:
        """Take an entry back out, if there is one."""
        image = self.waiting.pop(key, None)
        if image is not None:
            self.weight -= len(key) + len(image) + _OVERHEAD
        return image

    def take(self, most: int | None = None) -> list[KeyedImage]:
        """Take out the oldest entries, all of them by default."""
        keys = list(islice(self.waiting, most))
        return [KeyedImage(key, image) for key in keys if (image := self.forget(key)) is not None]


class Join:
    """The join of one segment of two tables; pure bookkeeping, driven by whoever scans.

    Args:
        key_of: reads an item's canonical key.
        ignored: attributes that are not compared.
    """

    def __init__(self, key_of: Callable[[Raw], bytes], ignored: Collection[str] = ()) -> None:
        self._matched = 0
        self._unequal: list[KeyedImage] = []
        self._key_of = key_of
        self._ignored = ignored
        self._sides: dict[Side, _Arrivals] = {"primary": _Arrivals(), "replica": _Arrivals()}

    @property
    def weight(self) -> int:
        """The bytes held by entries that wait for their partners, fresh pages not counted."""
        return sum(side.weight for side in self._sides.values())

    @property
    def ended(self) -> bool:
        """Whether both sides' scans are over."""
        return all(side.ended for side in self._sides.values())

    def collect(self) -> tuple[int, list[KeyedImage]]:
        """Take the pairs met since the last call: how many are equal, and the primary's side of the others."""
        collected = self._matched, self._unequal
        self._matched, self._unequal = 0, []
        return collected

    def lead(self, side: Side) -> int:
        """Return how many items of this side lie ahead of all that the other one has delivered."""
        return len(self._sides[side].fresh)

    def add(self, side: Side, images: Sequence[Raw]) -> None:
        """Take in a page of one side."""
        self._sides[side].fresh += images
        self._align()

    def end(self, side: Side) -> None:
        """Take note that this side's scan is over; to be called once for each."""
        self._sides[side].ended = True
        self._align()

    def reached(self, side: Side) -> bytes | None:
        """Return the key of the last item of a side that has been met or set aside, None: none since last asked."""
        last = self._sides[side].take_last()
        return None if last is None else self._key_of(last)

    def exhausted(self, side: Side) -> bool:
        """Tell whether nothing more of a side will be met or set aside."""
        return self._sides[side].exhausted

    def waiting(self, side: Side) -> dict[bytes, bytes]:
        """Return what was set aside and waits for its partner, by key. Not to be changed."""
        return self._sides[side].waiting

    def unmatched(self, side: Side) -> list[KeyedImage]:
        """Take out the entries of one side that can meet no partner any more."""
        return self._sides[side].take() if self._sides[_OTHER[side]].exhausted else []

    def give_up(self) -> dict[Side, list[KeyedImage]]:
        """Take out everything, met or not: the two scans do not meet."""
        for side, arrivals in self._sides.items():
            self._set_aside(side, arrivals.fresh)
            arrivals.advance()
        return {side: arrivals.take() for side, arrivals in self._sides.items()}

    def evict(self) -> tuple[Side, list[KeyedImage]]:
        """Take out the older half of what waits on the heavier side; the window is full."""
        side: Side = max(self._sides, key=lambda name: self._sides[name].weight)
        arrivals = self._sides[side]
        return side, arrivals.take((len(arrivals.waiting) + 1) // 2)

    def _align(self) -> None:
        ours, theirs = self._sides["primary"], self._sides["replica"]
        here = there = 0
        while here < len(ours.fresh) and there < len(theirs.fresh):
            same = _common(ours.fresh, here, theirs.fresh, there)
            self._matched += same
            here, there = here + same, there + same
            if here < len(ours.fresh) and there < len(theirs.fresh):
                skipped, others = (
                    _detour(ours.fresh, here, theirs.fresh, there)
                    or self._catch_up(here, there)
                    or _onwards(ours.fresh, here, theirs.fresh, there)
                )
                self._set_aside("primary", ours.fresh[here : here + skipped])
                self._set_aside("replica", theirs.fresh[there : there + others])
                here, there = here + skipped, there + others
        ours.advance(here)
        theirs.advance(there)
        self._flush("primary")
        self._flush("replica")

    def _catch_up(self, here: int, there: int) -> tuple[int, int] | None:
        """Return how many images one side has to skip, and the other none, because it is behind."""
        if behind := self._behind("primary", here):
            return behind, 0
        if behind := self._behind("replica", there):
            return 0, behind
        return None

    def _behind(self, side: Side, place: int) -> int:
        """Return how many images in a row meet partners that wait; a few that do are nothing but chance.

        A gap of one side that is longer than a detour puts the other one behind, until it catches up.
        """
        fresh, waiting = self._sides[side].fresh, self._sides[_OTHER[side]].waiting
        if not waiting:
            return 0
        coming = map(fresh.__getitem__, range(place, len(fresh)))
        behind = sum(1 for _ in takewhile(lambda image: self._key_of(image) in waiting, coming))
        return behind if behind >= min(_REACH, len(fresh) - place) else 0

    def _flush(self, side: Side) -> None:
        """Set aside whatever cannot be aligned any more: the other side has nothing to align it with."""
        if self._sides[_OTHER[side]].exhausted:
            self._set_aside(side, self._sides[side].fresh)
            self._sides[side].advance()

    def _set_aside(self, side: Side, images: Sequence[Raw]) -> None:
        mine, others = self._sides[side], self._sides[_OTHER[side]]
        for image in images:
            key = self._key_of(image)
            other = others.forget(key)
            if other is None:
                mine.keep(key, image)
                continue
            ours, theirs = (bytes(image), other) if side == "primary" else (other, bytes(image))
            if same_item(ours, theirs, self._ignored):
                self._matched += 1
            else:
                self._unequal.append(KeyedImage(key, ours))


_OTHER: dict[Side, Side] = {"primary": "replica", "replica": "primary"}


def _common(ours: list[Raw], here: int, theirs: list[Raw], there: int) -> int:
    """Return how many images are the same on both sides from these places on."""
    length = min(len(ours) - here, len(theirs) - there)
    same = 0
    while same < length:
        size = min(_BLOCK, length - same)
        left, right = ours[here + same : here + same + size], theirs[there + same : there + same + size]
        if left != right:
            return same + next(compress(count(), map(ne, left, right)))
        same += size
    return same


def _detour(ours: list[Raw], here: int, theirs: list[Raw], there: int) -> tuple[int, int] | None:
    """Return how many images each side has to skip for both to agree again; None: more than is in reach."""
    for skipped, others in (
        (1, 1),
        (1, 0),
        (0, 1),
    ):  # by far the most common: one item is different, or one-sided
        left, right = here + skipped, there + others
        if left < len(ours) and right < len(theirs) and ours[left] == theirs[right]:
            return skipped, others
    places = {bytes(image): place for place, image in enumerate(theirs[there : there + _REACH])}
    for skipped, image in enumerate(ours[here : here + _REACH]):
        others_place = places.get(bytes(image))
        if others_place is not None:
            return skipped, others_place
    return None


def _onwards(ours: list[Raw], here: int, theirs: list[Raw], there: int) -> tuple[int, int]:
    """Return how many images both sides skip where they do not agree: the reach, or what both know."""
    known = min(_REACH, len(ours) - here, len(theirs) - there)
    return known, known
