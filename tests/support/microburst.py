"""Runs microburst, a proxy that knows how AWS fails, in front of an engine.

It throttles, answers with server errors, resets connections, stalls and cuts answers short. What it
cannot do is in ``tests.support.fault_proxy``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.engines import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE_SECONDS = 20.0
# It draws from the random module and takes no seed. Which call meets which draw is up to the run.
_SEEDED = """
import random, sys
random.seed(int(sys.argv.pop(1)))
from microburst.cli import main
sys.exit(main())
"""


@dataclass
class Microburst:
    """A running proxy. Its first call takes seconds, so tests share it.

    Attributes:
        url: where it listens.
    """

    url: str
    _fired_before: int = 0

    def fired(self) -> int:
        """How many calls met with a fault since the rules were stated."""
        return self._fired() - self._fired_before

    def _fired(self) -> int:
        count: int = self._control("GET", "stats")["requests"]["faulted"]
        return count

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        address = f"{self.url}/_microburst/{path}"
        request = urllib.request.Request(
            address, content, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as answer:
            return json.load(answer)

    def state(self, *rules: dict[str, Any]) -> None:
        """Replace the rules, which are in microburst's own notation, by these for calls of DynamoDB."""
        self._control("POST", "rules", [{"service": "dynamodb"} | rule for rule in rules])
        self._fired_before = self._fired()

    def wait_until_ready(self) -> None:
        """Wait until it answers.

        Raises:
            OSError: it does not.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                self._control("GET", "health")
            except urllib.error.URLError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return


@contextmanager
def run_microburst(upstream: str, seed: int) -> Iterator[Microburst]:
    """A proxy in front of ``upstream`` that does nothing as yet."""
    port = free_port()
    command = [sys.executable, "-c", _SEEDED, str(seed), "--upstream", upstream, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            microburst = Microburst(f"http://127.0.0.1:{port}")
            microburst.wait_until_ready()
            yield microburst
        finally:
            process.terminate()
            process.wait(_PATIENCE_SECONDS)
