"""Which leases a worker takes, by the rules of KCL 1.x: everybody has about as many, and none stays dead. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from random import Random

    from asyncrep.aws.lease import Lease


class Observations:
    """When this worker saw each lease's counter change, on its own monotonic clock.

    Args:
        failover: a lease has expired when its counter did not change for so many seconds.
    """

    def __init__(self, failover: float) -> None:
        self._failover = failover
        self._seen: dict[str, tuple[int, float]] = {}

    def see(self, leases: Iterable[Lease], now: float) -> None:
        """Take note of all leases there are; ``now`` is not before they were read."""
        seen = {}
        for lease in leases:
            before = self._seen.get(lease.key)
            is_still = before is not None and before[0] == lease.counter
            seen[lease.key] = before if before is not None and is_still else (lease.counter, now)
        self._seen = seen

    def expiry(self, lease: Lease) -> float:
        """Return when it expires, or has expired, unless its counter changes; it was among those seen last."""
        return self._seen[lease.key][1] + self._failover


def choose(leases: Collection[Lease], worker: str, available: Collection[str], random: Random) -> list[Lease]:
    """Return the leases that ``worker`` should try to take now.

    Its share is what all would have if all had as many. Until it has it, it takes those that nobody lives
    for; if there are none, it takes one from whoever has the most, if that is more than its share, or it
    still lacks two.

    Args:
        leases: those of shards that can be followed now: not done with, and their parents are.
        worker: who asks.
        available: the keys of those that are free or whose owners do not live.
        random: shuffles, so that workers that ask at once do not ask for the same ones.
    """
    loads = Counter(lease.owner for lease in leases if lease.owner and lease.key not in available)
    loads[worker] += 0
    share = -(-len(leases) // len(loads))
    lacking = share - loads[worker]
    if lacking <= 0:
        return []
    nobodys = [lease for lease in leases if lease.key in available]
    if nobodys:
        return random.sample(nobodys, min(lacking, len(nobodys)))
    busiest, load = max(loads.items(), key=lambda each: each[1])
    if load > share or (load == share and lacking > 1):
        return [random.choice([lease for lease in leases if lease.owner == busiest])]
    return []
