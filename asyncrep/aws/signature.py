"""Signs requests by Signature Version 4, as botocore does, at a tenth of its cost.

Source: "Create a signed AWS API request" in the IAM user guide, and for S3 "Authenticating Requests: Using the
Authorization Header (AWS Signature Version 4)" in its API reference.
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class Credentials(Protocol):
    """Keys that belong together, as botocore has them."""

    @property
    def access_key(self) -> str | None:
        """Which keys these are."""

    @property
    def secret_key(self) -> str | None:
        """The key that nobody else has."""

    @property
    def token(self) -> str | None:
        """What goes with temporary keys."""


class Unsigned(NamedTuple):
    """A request.

    Attributes:
        verb: in capitals.
        host: with its port, if that is another than the scheme's.
        path: quoted, as it is sent.
        query: quoted, and sorted by names; without a question mark.
        headers: those that are to be signed, by names in lower case; values without blanks that could be left out.
        body: empty for none.
    """

    verb: str
    host: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


def sign(
    request: Unsigned, credentials: Credentials, region: str, service: str, moment: datetime
) -> dict[str, str]:
    """Return all headers with which a request is to be sent, and ``host``."""
    time = moment.strftime("%Y%m%dT%H%M%SZ")
    digest = sha256(request.body).hexdigest()
    headers = {"host": request.host, **request.headers, "x-amz-date": time}
    if service == "s3":
        headers["x-amz-content-sha256"] = digest
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    names = sorted(headers)
    signed = ";".join(names)
    lines = "".join([f"{name}:{headers[name]}\n" for name in names])
    canonical = f"{request.verb}\n{request.path}\n{request.query}\n{lines}\n{signed}\n{digest}"
    scope = f"{time[:8]}/{region}/{service}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    key = _signing_key(credentials.secret_key or "", time[:8], region, service)
    signature = hmac.digest(key, to_sign.encode(), "sha256")
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={signed}, Signature={signature.hex()}"
    )
    return headers


@lru_cache(maxsize=8)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """Return the key of a day, a Region and a service."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
