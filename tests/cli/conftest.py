"""Fixtures of the command line's tests: the scripted endpoint beside the test, and the command itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Cli, endpoint_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.scripted import ScriptedDynamo


@pytest.fixture
def endpoint() -> Iterator[ScriptedDynamo]:
    """A scripted endpoint without tables, served by a thread."""
    with endpoint_in_thread() as endpoint:
        yield endpoint


@pytest.fixture
def cli(tmp_path: Path, endpoint: ScriptedDynamo) -> Cli:
    """The command line, turned towards the scripted endpoint by AWS_ENDPOINT_URL."""
    return Cli(tmp_path, {"AWS_ENDPOINT_URL": endpoint.url})
