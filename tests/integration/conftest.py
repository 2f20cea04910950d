"""What the tests of whole runs share: each of them holds for every strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.scenario import STRATEGIES, Scene

if TYPE_CHECKING:
    from asyncrep.options import Strategy


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Strategy:
    """Each strategy; scenes use it unless a test names another."""
    monkeypatch.setattr(Scene, "default_strategy", request.param)
    chosen: Strategy = request.param
    return chosen
