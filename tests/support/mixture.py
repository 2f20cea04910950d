"""Two tables with seeded drift of every kind, in items of every type, and what a run over them must find."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.support.scenario import wire
from tests.support.values import canonical

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from tests.support.values import Item, Value

SHAPES: tuple[tuple[tuple[str, str], ...], ...] = (
    (("id", "S"),),
    (("id", "S"), ("at", "N")),
    (("id", "N"), ("name", "S")),
    (("id", "S"), ("raw", "B")),
)
"""Key schemas; no binary hash key, because one of the engines cannot scan it."""

_NAMES = ("a", "b.c", "size", "SET", "é", "💥", "#0", "line\nbreak", "constructor", "x" * 60)
_WORDS = ("", "plain", 'say "hi"', "back\\slash", "e\u0301", "\u2028", "ключ", "💥" * 5, "\x01")
_SHARES = {None: 78, "respelled": 4, "missing": 6, "different": 8, "extraneous": 4}


@dataclass(frozen=True)
class Mixture:
    """What is on each side, and the kind of every record that differs.

    Attributes:
        keys: names and types of the key attributes, hash key first.
        kinds: the kinds by the key's canonical value, as ``identity`` gives it.
        pairs: how many records there are in all.
    """

    keys: tuple[tuple[str, str], ...]
    primary: list[Item]
    replica: list[Item]
    kinds: dict[Hashable, str]
    pairs: int

    @classmethod
    def of(cls, seed: int, count: int, *, documents_in_guards: bool = True) -> Mixture:
        """Records of which about a fifth differ, in every way.

        Args:
            seed: decides everything.
            count: how many records.
            documents_in_guards: whether what a repair guards on may be a list or a map; some engine
                cannot compare those.
        """
        chance = random.Random(seed)
        keys = chance.choice(SHAPES)
        maker = _Maker(chance, documents_in_guards)
        mixture = cls(keys, [], [], {}, count)
        for number in range(count):
            key = maker.key(keys, number)
            kind = chance.choices(list(_SHARES), list(_SHARES.values()))[0]
            mixture._add(key, kind, maker)
        chance.shuffle(mixture.primary)
        return mixture

    def _add(self, key: Item, kind: str | None, maker: _Maker) -> None:
        ours = key | maker.attributes(guarded=kind == "extraneous")
        if kind != "extraneous":
            self.primary.append(ours)
        if kind == "different":
            ours = maker.changed(key, ours)
        elif kind == "respelled":
            ours = {name: _respelled(value) for name, value in ours.items()}
        if kind != "missing":
            self.replica.append(ours)
        if kind in ("missing", "different", "extraneous"):
            self.kinds[canonical({"M": key})] = kind

    @property
    def counts(self) -> Counter[str]:
        """How many records there are of each kind."""
        return Counter(self.kinds.values())

    def identity(self, item: Item) -> Hashable:
        """The canonical value of an item's key."""
        return canonical({"M": {name: item[name] for name, _ in self.keys}})

    def by_identity(self, items: Iterable[Item]) -> dict[Hashable, Item]:
        """Items by key."""
        return {self.identity(item): item for item in items}


class _Maker:
    """Makes keys and attributes, all by chance."""

    def __init__(self, chance: random.Random, documents_in_guards: bool) -> None:
        self._chance = chance
        self._documents_in_guards = documents_in_guards

    def key(self, keys: tuple[tuple[str, str], ...], number: int) -> Item:
        """A key that no other number has; several share a hash key where there is a range key."""
        whole = {
            "S": f"k{number} {_WORDS[number % len(_WORDS)]}",
            "N": number * 7 - 50,
            "B": b"%d\xff" % number,
        }
        if len(keys) == 1:
            return {keys[0][0]: wire(whole[keys[0][1]])}
        (hash_name, hash_type), (range_name, range_type) = keys
        part = {"S": f"h{number // 9}", "N": Decimal(number // 9) / 4}[hash_type]
        return {hash_name: wire(part), range_name: wire(whole[range_type])}

    def attributes(self, *, guarded: bool = False) -> Item:
        """Some attributes of any types; only such as every engine can compare when they are ``guarded``."""
        names = self._chance.sample(_NAMES, self._chance.randint(0, 6))
        attributes = {name: self._value(deep=not guarded or self._documents_in_guards) for name in names}
        if self._chance.random() < 0.02:
            attributes["large"] = wire("ы" * self._chance.randint(1_000, 30_000))
        return attributes

    def changed(self, key: Item, item: Item) -> Item:
        """The item with some attribute changed, added or taken away; always another than before."""
        changed = dict(item)
        mine = [name for name in item if name not in key]
        way = self._chance.choice(("change", "add", "remove", "both"))
        if way in ("add", "both") or not mine:
            changed["added"] = self._value(deep=self._documents_in_guards)
        if way in ("change", "both") and mine:
            changed[self._chance.choice(mine)] = wire(f"changed {self._chance.random()}")
        if way == "remove" and mine:
            del changed[self._chance.choice(mine)]
        return changed

    def _value(self, *, deep: bool, depth: int = 0) -> Value:
        chance = self._chance
        scalars = (
            chance.choice(_WORDS),
            f"text {chance.random()}" * chance.randint(1, 8),
            chance.randint(-(10**20), 10**20),
            Decimal(chance.randint(1, 10**37)).scaleb(-chance.randint(0, 60)),
            chance.randbytes(chance.randint(1, 40)),
            chance.choice((True, False)),
            None,
            {f"m{number}" for number in chance.sample(range(50), 4)},
            set(chance.sample(range(-50, 50), 4)),
            {b"%d" % number for number in chance.sample(range(50), 3)},
        )
        if not deep or depth > 2 or chance.random() < 0.6:
            return wire(chance.choice(scalars))
        inner = [self._value(deep=True, depth=depth + 1) for _ in range(chance.randint(0, 3))]
        if chance.random() < 0.5:
            return {"L": inner}
        return {"M": dict(zip(chance.sample(_NAMES, len(inner)), inner, strict=True))}


def _respelled(value: Value) -> Value:
    """The same value written differently, where it is a set, a map, or holds one."""
    ((kind, content),) = value.items()
    match kind:
        case "SS" | "NS" | "BS":
            return {kind: content[::-1]}
        case "L":
            return {kind: [_respelled(element) for element in content]}
        case "M":
            names: list[Any] = list(content)[::-1]
            return {kind: {name: _respelled(content[name]) for name in names}}
    return value
