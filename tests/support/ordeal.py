"""An ordeal: two drifted tables in an engine, commands over them through a proxy, and the truth afterwards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from tests.support.cli import Cli, Ran, ended, json_lines
from tests.support.mixture import Mixture
from tests.support.values import canonical, equal

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    from tests.support.engines import Engine
    from tests.support.values import Item

REGIONS = ("us-east-1", "eu-west-1")
OUTPUT = "d.jsonl"
PATIENCE_SECONDS = 90.0
"""A table that throttles more than half of whatever it is asked is asked ever more slowly."""


@dataclass
class Ordeal:
    """Two tables, what is known about them, and the command line.

    Attributes:
        mixture: what was on both sides at the beginning.
        names: the names of the primary and the replica.
    """

    engine: Engine
    mixture: Mixture
    cli: Cli
    names: tuple[str, str] = ("", "")
    _before: dict[Hashable, Item] = field(default_factory=dict)

    @classmethod
    def of(cls, engine: Engine, folder: Path, seed: int, count: int, *, empty_replica: bool = False) -> Self:
        """Fill two tables; printed seeds are shown when a test fails."""
        print(f"seed {seed}")  # noqa: T201
        mixture = Mixture.of(seed, count, documents_in_guards=engine.supports_document_conditions)
        ordeal = cls(engine, mixture, Cli(folder))
        sides = (mixture.primary, [] if empty_replica else mixture.replica)
        hash_key, *range_key = mixture.keys
        ordeal.names = (
            engine.create_table(
                hash=hash_key, range=next(iter(range_key), None), items=sides[0], region=REGIONS[0]
            ),
            engine.create_table(
                hash=hash_key, range=next(iter(range_key), None), items=sides[1], region=REGIONS[1]
            ),
        )
        ordeal._before = mixture.by_identity(ordeal.items(1))
        return ordeal

    @property
    def command(self) -> tuple[str, ...]:
        """A check of the two tables for programs, with little waiting."""
        tables = [f"{region}/{name}" for region, name in zip(REGIONS, self.names, strict=True)]
        return ("diff-tables", *tables, "--settle", "0", "--json", "--quiet")

    def run(self, url: str, *options: str | Path, **settings: Any) -> Ran:
        """Run the check through a proxy to its end; settings are those of ``subprocess.Popen``."""
        self.cli.environment["AWS_ENDPOINT_URL"] = url
        with self.cli.start(*self.command, *options, **settings) as process:
            return ended(process, PATIENCE_SECONDS)

    def items(self, side: int) -> list[Item]:
        """What one side holds, asked of the engine itself."""
        return self.engine.items(self.names[side], REGIONS[side])

    @property
    def found(self) -> list[dict[str, Any]]:
        """The lines of the output file."""
        path = self.cli.folder / OUTPUT
        return json_lines(path.read_text()) if path.exists() else []

    @property
    def changed(self) -> set[Hashable]:
        """The records of the replica that are no longer what they were."""
        now = self.mixture.by_identity(self.items(1))
        return {
            key for key in now.keys() | self._before.keys() if not same(now.get(key), self._before.get(key))
        }

    def assert_counts(self, summary: dict[str, Any]) -> None:
        """The summary says of every record what is true, once."""
        counts = self.mixture.counts
        # The replica's walk may come by what the repair has just written.
        seen, there = summary["scanned_replica"], len(self.mixture.replica)
        assert there <= seen <= there + (counts["missing"] if summary["repaired"] else 0)
        truth = {
            "complete": True,
            "missing": counts["missing"],
            "different": counts["different"],
            "extraneous": counts["extraneous"],
            "matched": self.mixture.pairs - counts.total(),
            "compared": self.mixture.pairs,
            "deleted": counts["extraneous"] if summary["repaired"] else 0,
            "scanned_primary": len(self.mixture.primary),
        } | dict.fromkeys(("settled", "in_flight", "expired", "failed", "contested", "skipped"), 0)
        assert {name: summary[name] for name in truth} == truth

    def assert_told(self, state: str) -> None:
        """The output file names every discrepancy once, with its images and its state."""
        told = Counter((self._identity_of(line), line["kind"]) for line in self.found)
        assert told == Counter(self.mixture.kinds.items())
        assert {line["state"] for line in self.found} <= {state}
        ours, theirs = map(self.mixture.by_identity, (self.mixture.primary, self.mixture.replica))
        for line in self.found:
            key = self._identity_of(line)
            assert same(line["primary"], ours.get(key))
            assert same(line["replica"], theirs.get(key))

    def assert_equal(self) -> None:
        """The replica holds what the primary holds, which nobody has touched."""
        ours, theirs = (self.mixture.by_identity(self.items(side)) for side in (0, 1))
        assert ours.keys() == self.mixture.by_identity(self.mixture.primary).keys()
        assert all(equal(item, ours[self.mixture.identity(item)]) for item in self.mixture.primary)
        assert theirs.keys() == ours.keys()
        assert [key for key, item in ours.items() if not equal(item, theirs[key])] == []

    def assert_untouched(self) -> None:
        """The replica holds what it held at the beginning."""
        now = self.mixture.by_identity(self.items(1))
        assert now.keys() == self._before.keys()
        assert all(equal(item, self._before[key]) for key, item in now.items())

    def assert_half_way(self, *, deletions: bool) -> None:
        """Each attribute of the replica is as it was or as it is to be, and no record was lost.

        Args:
            deletions: whether records that only the replica had may be gone already.
        """
        ours, theirs = (self.mixture.by_identity(self.items(side)) for side in (0, 1))
        wanted = self.mixture.by_identity(self.mixture.primary)
        assert ours.keys() == wanted.keys()
        gone = self._before.keys() - theirs.keys()
        assert {self.mixture.kinds[key] for key in gone} <= ({"extraneous"} if deletions else set())
        assert theirs.keys() <= self._before.keys() | wanted.keys()
        for key, item in theirs.items():
            # A record that was not there at all comes whole.
            states = [each for each in (self._before.get(key), wanted.get(key)) if each is not None]
            if len(states) == 1:
                assert equal(item, states[0])
            for name in item.keys() | {name for state in states for name in state}:
                assert any(_attribute(item, name) == _attribute(state, name) for state in states), (key, name)

    def assert_honest(self, lines: list[dict[str, Any]]) -> None:
        """No record is told twice, none that does not differ, and what is told to be repaired is."""
        told = Counter(self._identity_of(line) for line in lines)
        assert set(told.values()) <= {1}
        assert told.keys() <= self.mixture.kinds.keys()
        ours, theirs = (self.mixture.by_identity(self.items(side)) for side in (0, 1))
        for line in lines:
            key = self._identity_of(line)
            assert line["kind"] == self.mixture.kinds[key]
            if line["state"] == "repaired":
                assert same(ours.get(key), theirs.get(key))

    def _identity_of(self, line: dict[str, Any]) -> Hashable:
        return self.mixture.identity(line["key"])


def same(left: Item | None, right: Item | None) -> bool:
    """Whether two images are equal by value, or both are absent."""
    if left is None or right is None:
        return left is right
    return equal(left, right)


def _attribute(item: Item, name: str) -> Hashable:
    return canonical(item[name]) if name in item else None
