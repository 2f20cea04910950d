"""An S3 endpoint in a process of its own that answers fast enough to load any client.

`python -m benchmarks.canned_s3 --port 0 --objects 100000` prints its URL as its first line and what it holds as
JSON on the second: one bucket, `bucket`, in memory, with the folder `incremental/primary` of so many item objects
as asyncrep and dynamodb-replicator make them, of the items that the canned table `primary` has. It is addressed
by path, serves 127.0.0.1 only, and believes every signature.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import cast
from urllib.parse import parse_qsl, unquote, urlsplit

import uvloop

from asyncrep.items.incremental import object_name
from benchmarks.bucket import Answer, Bucket, Refused, Request
from benchmarks.serving import serve
from benchmarks.tables import Layout, Table

BUCKET = "bucket"
FOLDER = "incremental/primary"
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


@dataclass(slots=True)
class Asked:
    """What one operation has been asked for."""

    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection: parses just what AWS clients send."""

    def __init__(self, bucket: Bucket, asked: dict[str, Asked], latency: float = 0.0) -> None:
        """`latency` is added to every answer, in seconds."""
        self._bucket = bucket
        self._asked = asked
        self._latency = latency
        self._received = bytearray()
        self._head: tuple[bytes, str, dict[bytes, bytes]] | None = None
        self._length = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to answer on."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Forget the transport, so that delayed answers go nowhere."""
        self._transport = None

    @property
    def is_open(self) -> bool:
        """Whether the transport was not lost yet."""
        return self._transport is not None

    def abort(self) -> None:
        """End the connection, whatever is still to be said."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._received += data
        while self._head is not None or self._begin():
            if len(self._received) < self._length:
                return
            body = bytes(self._received[: self._length])
            del self._received[: self._length]
            assert self._head is not None
            (method, target, headers), self._head = self._head, None
            self._answer(method, target, headers, body)

    def _begin(self) -> bool:
        """Read the head of a request, once it is all there."""
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = bytes(self._received[:end]).split(b"\r\n")
        del self._received[: end + 4]
        method, target, _ = first.split(b" ")
        pairs = (line.partition(b":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        self._head = (method, target.decode(), headers)
        self._length = int(headers.get(b"content-length", 0))
        if headers.get(b"expect", b"").lower() == b"100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _answer(self, method: bytes, target: str, headers: dict[bytes, bytes], body: bytes) -> None:
        if target == "/statistics":
            shown = {name: asdict(asked) for name, asked in self._asked.items()}
            answer = Answer(200, json.dumps(shown).encode())
        else:
            answer = self._ask(method, target, headers, body)
        if self._latency:
            asyncio.get_running_loop().call_later(self._latency, self._send, answer)
        else:
            self._send(answer)

    def _ask(self, method: bytes, target: str, headers: dict[bytes, bytes], body: bytes) -> Answer:
        parts = urlsplit(target)
        bucket, _, key = unquote(parts.path[1:]).partition("/")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        try:
            request = Request(bucket, key, query, headers, body)
            name, carry_out = self._bucket.operation(method, request)
            asked = self._asked.setdefault(name, Asked())
            asked.requests += 1
            asked.bytes_in += len(body)
            answer = carry_out(request)
            asked.bytes_out += len(answer.body)
        except Refused as refused:
            return refused.answer if method != b"HEAD" else Answer(refused.answer.status)
        return answer

    def _send(self, answer: Answer) -> None:
        if self._transport is None:
            return
        length = len(answer.body) if answer.length is None else answer.length
        told = b"" if answer.status == HTTPStatus.NO_CONTENT else b"Content-Length: %d\r\n" % length
        head = (
            b"HTTP/1.1 %d %b\r\nServer: canned\r\nx-amz-request-id: CANNED\r\n"
            b"Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n%b%b\r\n"
        ) % (answer.status, _REASONS[answer.status], told, answer.headers)
        self._transport.writelines((head, answer.body))


def item_objects(bucket: Bucket, objects: int, item_bytes: int) -> None:
    """Put the items of the canned table `primary` into the bucket, each as an object of its own."""
    table = Table("primary", Layout(objects, item_bytes=item_bytes))
    for slot in table.present(0, table.slots):
        bucket.hold(f"{FOLDER}/{object_name(table.key(slot))}", table.item(slot))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.canned_s3", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--objects", type=int, default=0, help="item objects that are there at once")
    parser.add_argument("--item-bytes", type=int, default=400, help="of each, as DynamoDB counts it")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="added to every answer")
    parser.add_argument(
        "--until-input-closes", action="store_true", help="stop when standard input is closed"
    )
    return parser.parse_args()


async def _serve(options: argparse.Namespace) -> None:
    bucket = Bucket(BUCKET)
    item_objects(bucket, options.objects, options.item_bytes)
    asked: dict[str, Asked] = {}
    await serve(
        lambda: Connection(bucket, asked, options.latency_ms / 1000),
        options.port,
        json.dumps({"objects": options.objects}),
        until_input_closes=options.until_input_closes,
    )


if __name__ == "__main__":
    uvloop.run(_serve(_arguments()))
