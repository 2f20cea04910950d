"""A DynamoDB endpoint in a process of its own that answers fast enough to load any client.

`python -m benchmarks.canned --port 0 --items 100000 --drift 0.01` prints its URL as its first line and
the counts of its two tables, `primary` and `replica`, as JSON on the second. A third table, `copy`, is
empty whatever is written to it. With `--records 100000` the primary has a stream. It serves 127.0.0.1 only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import zlib
from dataclasses import asdict, replace
from typing import cast

import uvloop

from benchmarks.answers import Answers, Refusal
from benchmarks.serving import serve
from benchmarks.stream import Stream
from benchmarks.tables import Layout, Pages, Table

_REASONS = {200: b"OK", 400: b"Bad Request"}
_TARGETS = (b"dynamodb_20120810.", b"dynamodbstreams_20120810.")


class Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection: parses just what AWS clients send."""

    def __init__(self, answers: Answers, latency: float) -> None:
        """`latency` is added to every answer, in seconds."""
        self._answers = answers
        self._targets = {
            target + name.lower().encode(): name for name in answers.operations for target in _TARGETS
        }
        self._latency = latency
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to answer on."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Forget the transport, so that delayed answers go nowhere."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end]).lower()
            length = int(_header(head, b"content-length") or 0)
            if len(self._received) < end + 4 + length:
                return
            body = bytes(self._received[end + 4 : end + 4 + length])
            del self._received[: end + 4 + length]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get /statistics "):
            shown = {name: asdict(value) for name, value in self._answers.statistics.items()}
            self._send(200, json.dumps(shown).encode())
            return
        operation = self._targets.get(_header(head, b"x-amz-target"))
        if operation is None:
            refusal = Refusal("UnknownOperationException", "not served here")
            self._send(400, refusal.body())
            return
        status, answer = self._answers.answer(operation, body)
        if self._latency:
            loop = asyncio.get_running_loop()
            loop.call_later(self._latency, self._send, status, answer)
        else:
            self._send(status, answer)

    def _send(self, status: int, body: bytes) -> None:
        if self._transport is None:
            return
        head = (
            b"HTTP/1.1 %d %s\r\nServer: canned\r\nContent-Type: application/x-amz-json-1.0\r\n"
            b"Content-Length: %d\r\nConnection: keep-alive\r\nx-amzn-RequestId: CANNED\r\nx-amz-crc32: %d\r\n\r\n"
        ) % (status, _REASONS[status], len(body), zlib.crc32(body))
        self._transport.writelines((head, body))


def _header(head: bytes, name: bytes) -> bytes:
    """The value of a header in a lower-case request head; empty when it is not there."""
    start = head.find(b"\r\n" + name + b":")
    if start < 0:
        return b""
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.canned", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--items", type=int, default=100_000, help="items of each table")
    parser.add_argument("--item-bytes", type=int, default=400, help="size of an item as DynamoDB counts it")
    parser.add_argument("--drift", type=float, default=0.0, help="share of items that differ, in thirds")
    parser.add_argument("--range-key", action="store_true", help="add an N range key, `created`")
    parser.add_argument(
        "--reversed-attributes",
        action="store_true",
        help="the replica writes equal items with their attributes in another order",
    )
    parser.add_argument("--records", type=int, default=0, help="records of the primary's stream")
    parser.add_argument("--shards", type=int, default=0, help="of the stream; 0 is no stream")
    parser.add_argument(
        "--repeats",
        action="store_true",
        help="a tenth of the records are of an item that had one just before",
    )
    parser.add_argument("--latency-ms", type=float, default=0.0, help="added to every answer")
    parser.add_argument("--throttle", type=float, default=0.0, help="share of data requests refused")
    parser.add_argument("--seed", type=int, default=1, help="of the throttling")
    parser.add_argument(
        "--cache-mb", type=int, default=1_000, help="encoded items kept, both tables together"
    )
    parser.add_argument(
        "--until-input-closes", action="store_true", help="stop when standard input is closed"
    )
    return parser.parse_args()


def _tables(options: argparse.Namespace) -> tuple[Layout, dict[str, Pages]]:
    layout = Layout(options.items, options.drift, options.range_key, options.item_bytes)
    tables = (
        Table("primary", layout),
        Table("replica", layout, reversed_attributes=options.reversed_attributes),
        Table("copy", replace(layout, items=0)),
    )
    pages = {table.name: Pages(table, cache_bytes=options.cache_mb * 500_000) for table in tables}
    for side in pages.values():
        side.warm()
    return layout, pages


async def _serve(options: argparse.Namespace) -> None:
    layout, tables = _tables(options)
    stream = Stream(options.records, options.shards, repeats=options.repeats)
    stream.warm()
    answers = Answers(tables, stream, random.Random(options.seed), options.throttle)
    await serve(
        lambda: Connection(answers, options.latency_ms / 1000),
        options.port,
        json.dumps({**layout.counts, **stream.counts}),
        until_input_closes=options.until_input_closes,
    )


if __name__ == "__main__":
    uvloop.run(_serve(_arguments()))
