"""How requests are sent without botocore: after what it sent first, over its connections, with its credentials.

Botocore works out anew for each request what never changes: an endpoint, by rules that are run through, and the
User-Agent. So it makes the first call, to a bucket or to a table, and a ``Route`` remembers what it found.
Its attributes that are private are asked for here only; a test tells when they are others.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from asyncrep.aws.signature import sign

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from urllib.parse import SplitResult

    from asyncrep.aws.signature import Unsigned

# What botocore sends with every call. A header that is not expected is somebody else's, who wants it on all.
_USUAL = frozenset({
    "amz-sdk-invocation-id", "amz-sdk-request", "authorization", "content-length", "user-agent", "x-amz-date",
    "x-amz-security-token",
})  # fmt: skip
_SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^,]*/\d{8}/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request,")
_PORTS = {"http": 80, "https": 443}

_sent: ContextVar[tuple[str, Mapping[str, Any]] | None] = ContextVar("sent", default=None)
"""URL and headers of the request that botocore last sent in this task."""


class Route(NamedTuple):
    """What a request is made after.

    Attributes:
        origin: the scheme and the host, as a URL begins.
        host: as the header of that name has it.
        path: what botocore asked for, as it was sent.
        region: for which requests are signed.
        service: likewise.
        agent: who asks.
    """

    origin: str
    host: str
    path: str
    region: str
    service: str
    agent: str


class _Request(NamedTuple):
    """What aiobotocore's connections send."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    stream_output: bool = False


def watch(client: Any, service: str) -> None:
    """Remember what a client of botocore's sends from now on, in the task that lets it send."""
    client.meta.events.register(f"before-send.{service}", _note)


def _note(request: Any, **_: object) -> None:
    _sent.set((request.url, request.headers))


def forget() -> None:
    """Forget what was sent before."""
    _sent.set(None)


def learn(expects: Callable[[str], bool]) -> Route | None:
    """Return the route of what was sent last; None when that was no plain signed request.

    Args:
        expects: tells whether botocore itself sends a header, beside those that it sends with every call.
    """
    sent = _sent.get()
    if sent is None:
        return None
    headers = {name.lower(): _text(value) for name, value in sent[1].items()}
    scope = _SCOPE.match(headers.get("authorization", ""))
    is_known = all(name in _USUAL or expects(name) for name in headers)
    if scope is None or not is_known or "user-agent" not in headers:
        return None
    address = urlsplit(sent[0])
    origin = f"{address.scheme}://{address.netloc}"
    return Route(origin, _host(address), address.path or "/", scope[1], scope[2], headers["user-agent"])


def _host(address: SplitResult) -> str:
    name = address.hostname or ""
    name = f"[{name}]" if ":" in name else name
    is_usual = address.port in {None, _PORTS.get(address.scheme)}
    return name if is_usual else f"{name}:{address.port}"


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


async def send(client: Any, route: Route, request: Unsigned) -> tuple[int, Mapping[str, str], bytes]:
    """Sign a request and send it; return the status, the headers by lower-case names, and the body.

    Raises:
        BotoCoreError: as for a call of botocore's.
    """
    from botocore.compat import get_current_datetime  # noqa: PLC0415 - loaded with the client

    signer, connections = client._request_signer, client._endpoint.http_session  # noqa: SLF001
    credentials = await signer._credentials.get_frozen_credentials()  # noqa: SLF001
    headers = sign(request, credentials, route.region, route.service, get_current_datetime())
    headers["user-agent"] = route.agent
    if request.verb in {"PUT", "POST"}:
        headers["content-length"] = str(len(request.body))
    url = f"{route.origin}{request.path}"
    if request.query:
        url = f"{url}?{request.query}"
    response = await connections.send(_Request(request.verb, url, headers, request.body))
    return response.status_code, response.headers, await response.content
