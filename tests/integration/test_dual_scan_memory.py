"""What two joined scans hold is bounded: neither runs ahead of the other, and the window stays what it is."""

from __future__ import annotations

import pytest

from asyncrep import Limits
from asyncrep.diff import dual_scan
from asyncrep.diff.join import Join
from tests.support.drift import Drift
from tests.support.scenario import PRIMARY, REPLICA, scene

ONE = Limits(segments=1)
SIDES = {"primary": PRIMARY, "replica": REPLICA}
OTHER = {"primary": "replica", "replica": "primary"}


def dual(endpoint, drift):
    play = scene(endpoint, drift.primary, drift.replica)
    play.strategy = "dual-scan"
    return play


class Ahead:
    """Counts by how many scans of one side are asked for beyond what the other has delivered."""

    def __init__(self, endpoint, fast):
        self.asked = self.delivered = self.most = 0
        endpoint.before("Scan", self._ask, region=SIDES[fast], times=None)
        endpoint.after("Scan", self._deliver, region=SIDES[OTHER[fast]], times=None)

    def _ask(self, _):
        self.asked += 1
        self.most = max(self.most, self.asked - self.delivered)

    def _deliver(self, _):
        self.delivered += 1


@pytest.mark.parametrize("fast", SIDES)
async def test_the_faster_scan_is_at_most_two_pages_ahead(endpoint, fast):
    drift = Drift.of(600)
    play = dual(endpoint, drift)
    play.primary.page_items = play.replica.page_items = 20
    endpoint.on("Scan", region=SIDES[OTHER[fast]], times=None).delay(0.02)
    ahead = Ahead(endpoint, fast)
    drift.assert_exact(*await play.diff(limits=ONE))
    assert ahead.most == 2


@pytest.mark.parametrize("fast", SIDES)
async def test_a_scan_by_large_pages_waits_for_one_by_single_items(endpoint, fast):
    drift = Drift.of(300)
    play = dual(endpoint, drift)
    slow = getattr(play, OTHER[fast])
    getattr(play, fast).page_items, slow.page_items = 30, 1
    most = 0

    def measure(_):
        nonlocal most
        large = endpoint.count("Scan", region=SIDES[fast]) * 30
        most = max(most, large - endpoint.count("Scan", region=SIDES[OTHER[fast]]))

    endpoint.before("Scan", measure, times=None)
    drift.assert_exact(*await play.diff(limits=ONE))
    # Drift itself moves the two apart by a few items: one side has more of them than the other.
    assert 30 < most <= 60 + 12


@pytest.mark.parametrize("fast", SIDES)
async def test_pages_of_few_items_are_no_licence_to_run_further_ahead(endpoint, fast):
    """Few items on a page are large ones: a lead counted in items would be many megabytes."""
    drift = Drift.of(300)
    play = dual(endpoint, drift)
    ours, theirs = getattr(play, fast), getattr(play, OTHER[fast])
    ours.page_items, theirs.page_items = 100, 50

    def shrink(_):
        ours.page_items = 2

    endpoint.after("Scan", shrink, region=SIDES[fast])
    endpoint.on("Scan", region=SIDES[OTHER[fast]], times=None).delay(0.05)
    held_back = []
    endpoint.after(
        "Scan",
        lambda _: held_back.append(endpoint.count("Scan", region=SIDES[fast])),
        region=SIDES[OTHER[fast]],
        times=None,
    )
    drift.assert_exact(*await play.diff(limits=ONE))
    # The first two answers of the slow side are what the fast side's first page has to wait for.
    assert max(held_back[:2]) <= 3


class Heaviest:
    """Records the most that all joins of a run held at once, as it comes and before any is let go."""

    def __init__(self, monkeypatch):
        self.bytes = 0
        joins = []
        begin, add = Join.__init__, Join.add

        def begun(join, *options):
            begin(join, *options)
            joins.append(join)

        def added(join, side, images):
            add(join, side, images)
            self.bytes = max(self.bytes, sum(each.weight for each in joins))

        monkeypatch.setattr(Join, "__init__", begun)
        monkeypatch.setattr(Join, "add", added)


async def test_the_window_is_the_same_however_much_differs(endpoint, monkeypatch):
    window, segments, page_items, most_per_item = 256 * 1024, 4, 250, 500
    monkeypatch.setattr(dual_scan, "WINDOW_BYTES", window)
    heaviest = Heaviest(monkeypatch)
    drift = Drift.disjoint(20_000, pad="x" * 60)
    play = dual(endpoint, drift)
    play.primary.page_items = play.replica.page_items = page_items
    drift.assert_exact(*await play.diff(limits=Limits(segments=segments)))
    whole = sum(len(str(each)) for each in (*drift.primary, *drift.replica))
    assert whole > 5 * window
    assert window < heaviest.bytes <= window + segments * page_items * most_per_item


async def test_the_window_holds_nothing_of_what_matches(endpoint, monkeypatch):
    heaviest = Heaviest(monkeypatch)
    drift = Drift.all(None, 5_000)
    play = dual(endpoint, drift)
    play.primary.page_items, play.replica.page_items = 300, 170
    drift.assert_exact(*await play.diff(limits=Limits(segments=4)))
    assert heaviest.bytes == 0


async def test_the_window_is_one_for_all_segments(endpoint, monkeypatch):
    window = 64 * 1024
    monkeypatch.setattr(dual_scan, "WINDOW_BYTES", window)
    heaviest = Heaviest(monkeypatch)
    drift = Drift.disjoint(4_000, pad="x" * 60)
    play = dual(endpoint, drift)
    play.primary.page_items = play.replica.page_items = 5
    drift.assert_exact(*await play.diff(limits=Limits(segments=64)))
    # An entry weighs less than 500 bytes, and a page comes in at a time, with what was ahead before it.
    assert window / 2 < heaviest.bytes <= window + 3 * 5 * 500
