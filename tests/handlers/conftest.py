"""What the tests of handlers share: an endpoint in a thread of its own, and containers that are closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asyncrep.handlers.runtime import Container
from tests.support.scripted import ScriptedDynamo
from tests.support.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def served() -> Iterator[ScriptedDynamo]:
    """A scripted endpoint beside the test, which blocks as Lambda's functions do."""
    with in_thread(ScriptedDynamo()) as endpoint:
        yield endpoint


@pytest.fixture
def container() -> Iterator[Container]:
    """What a function keeps between invocations."""
    container = Container()
    yield container
    container.close()
