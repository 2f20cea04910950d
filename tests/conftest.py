"""Fixtures for every test: an environment without AWS, the scripted endpoint and the real engines."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support import engines
from tests.support.scripted import ScriptedDynamo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.engines import Engine


def pytest_configure() -> None:
    """Stop before the first test when a required engine is missing."""
    # Who runs the tests in the background lets them ignore Ctrl-C, and so every command that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if reason := engines.missing():
        raise pytest.UsageError(reason)


def pytest_report_header() -> str:
    """Say which engines the tests with `engine` run on."""
    return f"engines: {', '.join(engines.available())}"


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No setting of the person who runs the tests reaches them, and no test reaches AWS by accident."""
    nowhere = tmp_path_factory.mktemp("aws")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            foreign = name.startswith("ASYNCREP_") and not name.startswith("ASYNCREP_TEST_")
            if foreign or name.startswith("AWS_"):
                patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", str(nowhere / "config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nowhere / "credentials"))
        patch.setenv(
            "ASYNCREP_STATE", str(nowhere / "state")
        )  # locks, too: each process of the tests has its own
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, "127.0.0.1,localhost")
        yield


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedDynamo]:
    """A scripted endpoint without tables."""
    async with ScriptedDynamo() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """One moto server for the whole session."""
    with engines.run_moto() as url:
        yield url


@pytest.fixture(scope="session")
def dynalite_url() -> Iterator[str]:
    """One dynalite for the whole session."""
    with engines.run_dynalite() as url:
        yield url


@pytest.fixture(scope="session")
def custom_url() -> str:
    """The endpoint somebody gave."""
    return os.environ[engines.CUSTOM_ENDPOINT]


@pytest.fixture(params=engines.available())
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each engine there is; the tables a test makes in it are gone afterwards."""
    start = {"moto": engines.moto, "dynalite": engines.dynalite, "custom": engines.custom}[request.param]
    engine = start(request.getfixturevalue(f"{request.param}_url"))
    yield engine
    engine.delete_tables()
