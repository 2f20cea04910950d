"""Connections that send each request once. Imports aiohttp: to be imported where a client is made."""

from __future__ import annotations

from typing import Any

from aiobotocore.httpsession import AIOHTTPSession


class SingleSend(AIOHTTPSession):
    """A client's connections, without aiohttp's own second try.

    When a connection that was used before breaks, aiohttp sends a PUT or DELETE again, and tells nobody. If the
    first one was carried out, a condition (If-None-Match, If-Match) then fails for the caller's own object; and
    whoever is not told that a try got no answer takes it for somebody else's.
    """

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)  # type: ignore[misc] # not in its stubs
        session._retry_connection = False  # noqa: SLF001 - as aiohttp's own test client does; tests guard it
        return session
