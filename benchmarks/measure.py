"""Runs the canned endpoint and the contestants as processes, and measures the contestants from outside."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_CHECKOUT = Path(__file__).parent.parent

_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


_NOT_POSSIBLE = 4
"""Exit code by which a contestant says that its version cannot do what is asked of it."""


class ContestantFailed(Exception):
    """A contestant ended with an exit code it should not have, or said nothing that can be read."""


class NotPossible(Exception):
    """A contestant cannot be run here, or its version cannot do what is asked of it: no row, and no failure."""


class Spent(NamedTuple):
    """What an endpoint has been asked for since it started."""

    requests: int
    read_units: float
    items_written: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running canned endpoint: its URL and what its tables hold."""

    url: str
    counts: Mapping[str, int]

    def spent(self) -> Spent:
        """Requests answered, read units consumed and items written since the endpoint started."""
        with urllib.request.urlopen(f"{self.url}/statistics", timeout=30) as response:
            statistics = json.load(response).values()
        return Spent(
            sum(one["requests"] for one in statistics),
            sum(one["read_units"] for one in statistics),
            sum(one["items_written"] for one in statistics),
        )


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of one contestant, start-up included."""

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    requests: int
    read_units: float
    items_written: int
    answer: Mapping[str, Any]
    """The JSON object on the last line of its stdout."""


@contextlib.contextmanager
def endpoint(*options: str, module: str = "benchmarks.canned") -> Iterator[Endpoint]:
    """A canned endpoint for as long as the block runs: DynamoDB, or what another module serves.

    The endpoint watches its standard input and stops when this process is gone, however it went.

    Raises:
        ContestantFailed: the endpoint did not start.
    """
    command = [sys.executable, "-m", module, "--until-input-closes", *options]
    with subprocess.Popen(
        command, cwd=_CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url, counts = process.stdout.readline().strip(), process.stdout.readline()
            if not counts:
                message = f"the canned endpoint did not start with {options}"
                raise ContestantFailed(message)
            yield Endpoint(url, json.loads(counts))
        finally:
            process.terminate()


def measure(command: Sequence[str], served_by: Endpoint, *, timeout: float = 900) -> Measurement:
    """Run a contestant that ends with its standard input, and read from the operating system what it took.

    `peak_bytes` is the kernel's high-water mark. A child starts with the mark of the process that forked
    it, so this process must stay smaller than any contestant: it imports no AWS library.

    Raises:
        NotPossible: it says so itself.
        ContestantFailed: its exit code is not 0 (its stderr is in the message), it
            gave no answer, or its `timeout` in seconds was over.
    """
    before = served_by.spent()
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=_CHECKOUT,
            env=os.environ | _ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        overdue = threading.Timer(timeout, process.kill)
        overdue.start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with process.stdin, process.stdout as output:
                lines = output.read().splitlines()
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            overdue.cancel()
            if process.returncode is None:
                process.kill()
                process.wait()
        errors.seek(0)
        complaint = errors.read().decode(errors="replace")
    if process.returncode == _NOT_POSSIBLE:
        raise NotPossible(complaint.strip().rpartition("\n")[2])
    if process.returncode or not lines:
        message = f"{' '.join(command)} ended with {process.returncode}:\n{complaint[-2000:]}"
        raise ContestantFailed(message)
    after = served_by.spent()
    return Measurement(
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        wall_seconds=wall,
        peak_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        requests=after.requests - before.requests,
        read_units=after.read_units - before.read_units,
        items_written=after.items_written - before.items_written,
        answer=json.loads(lines[-1]),
    )
