"""What the users of a table write: values that nothing else has, in items that come, change and go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.scenario import item
from tests.support.values import canonical

if TYPE_CHECKING:
    import random
    from collections.abc import Hashable

    from tests.support.values import Item

Marks = frozenset[tuple[str, "Hashable"]]

_NAMES = "abcdef"
_WAYS = 6


def marks(held: Item | None) -> Marks:
    """The attributes of an item with their values; no two writers ever write the same value."""
    return frozenset((name, canonical(value)) for name, value in (held or {}).items())


@dataclass
class Hand:
    """Writes items, by chance."""

    chance: random.Random
    serial: int = 0

    def value(self) -> Any:
        """A value that nothing else has, of some type."""
        self.serial += 1
        kinds = (self.serial, f"v{self.serial}", {f"s{self.serial}", "t"}, [self.serial, {"deep": None}])
        return self.chance.choice(kinds)

    def fresh(self, name: str) -> Item:
        """A new item."""
        names = self.chance.sample(_NAMES, self.chance.randint(0, 4))
        return item(name, **{attribute: self.value() for attribute in names})

    def drifted(self, name: str, way: int) -> tuple[Item | None, Item | None]:
        """Both sides of a record that has drifted in one of ``ways``: the same, different, or one-sided."""
        ours, theirs = self.fresh(name), self.fresh(name)
        partly = ours | self.fresh(name)
        sides = [(ours, ours), (ours, partly), (ours, theirs), (ours, None), (None, theirs), (None, None)]
        return sides[way]

    def ways(self, number: int) -> list[int]:
        """Some ways to drift, any of them maybe several times."""
        return self.chance.choices(range(_WAYS), k=number)

    def change(self, name: str, held: Item | None) -> Item | None:
        """What becomes of an item next."""
        action = self.chance.choice(("add", "add", "change", "delete", "put"))
        if held is None or action == "put":
            return self.fresh(name)
        if action == "delete":
            return None
        names = [attribute for attribute in held if attribute != "id"]
        if action == "add" or not names:
            return held | item(name, **{self.chance.choice("abcdefgh"): self.value()})
        return held | item(name, **{self.chance.choice(names): self.value()})
