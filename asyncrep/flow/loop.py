"""The event loop of a process of our own. The library itself runs on whatever loop its caller has."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import Any

# A run allocates millions of short-lived objects without cycles; collecting them is the reference
# counts' work, and the collector's default threshold has it look for cycles all the time.
_COLLECT_AFTER = 50_000


def fast_runner() -> asyncio.Runner:
    """Return a runner with the fastest event loop there is, and tune the garbage collector for it."""
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
    return asyncio.Runner(loop_factory=_loop_factory())


def _loop_factory() -> Any:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 - only where something is run

    return uvloop.new_event_loop
