"""A canned S3 in the test's own loop, which leaves no connection behind."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from benchmarks.canned_s3 import Connection


@asynccontextmanager
async def serving(connection: Callable[[], Connection]) -> AsyncIterator[str]:
    """Serve, and yield the URL. A server that is closed ends none of its connections by itself."""
    made: list[Connection] = []

    def make() -> Connection:
        made.append(connection())
        return made[-1]

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for each in made:
            each.abort()
        while any(each.is_open for each in made):  # noqa: ASYNC110 - a transport tells its protocol in the next round
            await asyncio.sleep(0)
