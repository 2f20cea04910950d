"""Fixtures of the fault suite: a proxy of our own in front of an engine, and microburst."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

pytest.register_assert_rewrite("tests.support.ordeal")

from tests.support.fault_proxy import FaultProxy
from tests.support.microburst import Microburst, run_microburst
from tests.support.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.engines import Engine

SEED = "ASYNCREP_TEST_SEED"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of a test; those of a whole run are moved by ``ASYNCREP_TEST_SEED``."""
    return int(getattr(request, "param", 1)) + int(os.environ.get(SEED, "0"))


@pytest.fixture
def proxy(engine: Engine, seed: int) -> Iterator[FaultProxy]:
    """A proxy of our own in front of the engine, without faults as yet."""
    with in_thread(FaultProxy(engine.url, seed)) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def microbursts() -> Iterator[Callable[[str, int], Microburst]]:
    """Starts one microburst for each engine."""
    with ExitStack() as stack:
        started: dict[str, Microburst] = {}

        def start(upstream: str, seed: int) -> Microburst:
            if upstream not in started:
                started[upstream] = stack.enter_context(run_microburst(upstream, seed))
            return started[upstream]

        yield start


@pytest.fixture
def microburst(
    engine: Engine, seed: int, microbursts: Callable[[str, int], Microburst]
) -> Iterator[Microburst]:
    """The microburst in front of the engine, without rules as yet."""
    microburst = microbursts(engine.url, seed)
    yield microburst
    microburst.state()
