"""Constants of asyncrep made small, so that a few records do what many would; and its doors to the outside."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from asyncrep.cost.prices import load_prices
from asyncrep.flow.memory import Ledger
from tests.support.simulated.objects import open_simulated_objects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.simulated.world import World

_KNOBS: dict[tuple[str, ...], tuple[Any, ...]] = {
    (
        "asyncrep.diff.probe.BATCH",
        "asyncrep.diff.batch_get.BATCH",
        "asyncrep.diff.dual_scan.BATCH",
        "asyncrep.diff.resume.BATCH",
    ): (1, 2, 100),
    ("asyncrep.diff.pipeline._GROUP_KEYS",): (1, 2, 100),
    ("asyncrep.diff.pipeline._GROUPS_AT_ONCE",): (1, 3, 64),
    ("asyncrep.diff.dual_scan.WINDOW_BYTES",): (0, 500, 1 << 23),
    ("asyncrep.diff.dual_scan._MISSES_ALLOWED",): (0, 2, 10_000),
    ("asyncrep.diff.saving._SECONDS",): (0.3, 2.0, 10.0),
    ("asyncrep.repair.deletions._DELETE_KEYS",): (1, 2, 100),
    ("asyncrep.repair.deletions._GROUPS_AT_ONCE",): (1, 16),
    ("asyncrep.repair.findings._BATCHES_AT_ONCE",): (1, 16),
    ("asyncrep.repair.plan.ATTRIBUTES_PER_PATCH",): (1, 2, 100),
    ("asyncrep.repair.undo._GROUP_RECORDS",): (1, 100),
}

_prices = cache(load_prices)


@contextmanager
def simulated(world: World) -> Iterator[None]:
    """Let asyncrep live in a world: S3, tokens and constants are the world's."""

    class WatchedLedger(Ledger):
        def __init__(self, capacity: float) -> None:
            super().__init__(capacity)
            world.ledgers.append(self)

    tokens = SimpleNamespace(token_hex=lambda size: world.chance.randbytes(size).hex())
    changes: dict[str, Any] = {
        "asyncrep.aws.objects.open_objects": open_simulated_objects,
        "asyncrep.diff.run.Ledger": WatchedLedger,
        "asyncrep.diff.run.load_prices": _prices,
        "asyncrep.repair.undo.load_prices": _prices,
        "asyncrep.jobs.journal.secrets": tokens,
        "asyncrep.jobs.job.secrets": tokens,
        "asyncrep.jobs.store._alone_here": lambda _: nullcontext(),  # a lock is a file
    }
    for names, choices in _KNOBS.items():
        changes |= dict.fromkeys(names, world.chance.choice(choices))
    before = {name: _set(name, value) for name, value in changes.items()}
    try:
        yield
    finally:
        for name, value in before.items():
            _set(name, value)


def _set(name: str, value: Any) -> Any:
    """Set what a module has under a name; return what it was."""
    place, _, attribute = name.rpartition(".")
    module = import_module(place)
    before = getattr(module, attribute)
    setattr(module, attribute, value)
    return before
