"""Two tables with all three kinds of drift between them, and what a run over them must find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.scenario import item, key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncrep import Discrepancy, Report
    from tests.support.values import Item

_KINDS = {3: "extraneous", 7: "missing", 11: "different"}


def name(number: int) -> str:
    """The hash key of an item."""
    return f"k{number:05}"


@dataclass(frozen=True)
class Drift:
    """What is on each side, and the kind of every record that differs, by key."""

    primary: list[Item]
    replica: list[Item]
    kinds: dict[bytes, str]
    pairs: int

    @classmethod
    def of(cls, count: int, every: int = 50, **attributes: Any) -> Drift:
        """Records of which three in `every` differ, one of each kind."""
        kind_of = {number: _KINDS.get(number % every) for number in range(count)}
        return cls._of(kind_of, attributes)

    @classmethod
    def all(cls, kind: str | None, count: int, **attributes: Any) -> Drift:
        """Records that are all of one kind; of None, both sides have the same ones."""
        return cls._of(dict.fromkeys(range(count), kind), attributes)

    @classmethod
    def disjoint(cls, count: int, **attributes: Any) -> Drift:
        """Records of which every other one is on one side only, and no one on both."""
        return cls._of({number: ("missing", "extraneous")[number % 2] for number in range(count)}, attributes)

    @classmethod
    def _of(cls, kind_of: Mapping[int, str | None], attributes: Mapping[str, Any]) -> Drift:
        made = {number: item(name(number), **attributes, v=number) for number in kind_of}
        return cls(
            primary=[made[number] for number, kind in kind_of.items() if kind != "extraneous"],
            replica=[
                item(name(number), **attributes, v=-1) if kind == "different" else made[number]
                for number, kind in kind_of.items()
                if kind != "missing"
            ],
            kinds={key(name(number)): kind for number, kind in kind_of.items() if kind is not None},
            pairs=len(kind_of),
        )

    def count(self, kind: str) -> int:
        """How many records are of this kind."""
        return list(self.kinds.values()).count(kind)

    def assert_exact(self, found: Mapping[bytes, Discrepancy], report: Report) -> None:
        """Every record was told once and rightly, and every pair was counted once."""
        assert {each: discrepancy.kind for each, discrepancy in found.items()} == self.kinds
        counts = (report.missing, report.different, report.extraneous)
        assert counts == (self.count("missing"), self.count("different"), self.count("extraneous"))
        assert report.matched == self.pairs - len(self.kinds)
        assert report.compared == self.pairs
        assert (report.scanned_primary, report.scanned_replica) == (len(self.primary), len(self.replica))
        assert report.complete
