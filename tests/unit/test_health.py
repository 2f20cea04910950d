"""A worker's health as others see it: whole files, right answers, and no client that can hurt it."""

from __future__ import annotations

import asyncio
import json
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import SystemClock, UsageError, VirtualClock
from asyncrep.flow.tasks import beside, side_by_side
from asyncrep.replicate import health as module
from asyncrep.replicate.health import Health, keep_health_file, serve_health
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

WELL = Health(1_700_000_000.0, healthy=True, shards=3, millis_behind=250)
ILL = Health(1_700_000_000.0, healthy=False, reason="Shard 1 is held by a poison record.")
AS_JSON = {"time": 1_700_000_000.0, "healthy": True, "reason": "", "shards": 3, "millis_behind": 250}


async def exchange(port: int, request: bytes) -> bytes:
    """Everything that is answered until the connection ends; nothing where it is reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def parts(answer: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    return status, dict(line.lower().split(": ", 1) for line in headers), body


@pytest.mark.parametrize(("health", "status"), [(WELL, "200 OK"), (ILL, "503 Service Unavailable")])
async def test_get_answers_the_health_as_json_with_its_status(health: Health, status: str) -> None:
    async with serve_health(lambda: health, 0) as port:
        line, headers, body = parts(await exchange(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert line == f"HTTP/1.1 {status}"
    assert headers["content-type"] == "application/json"
    assert int(headers["content-length"]) == len(body)
    assert json.loads(body) == {
        "time": health.time,
        "healthy": health.healthy,
        "reason": health.reason,
        "shards": health.shards,
        "millis_behind": health.millis_behind,
    }


async def test_head_answers_the_same_without_the_body() -> None:
    async with serve_health(lambda: WELL, 0) as port:
        get = parts(await exchange(port, b"GET /healthz?verbose HTTP/1.0\r\n\r\n"))
        head = parts(await exchange(port, b"HEAD /healthz HTTP/1.1\r\n\r\n"))
    assert head == (get[0], get[1], b"")
    assert json.loads(get[2]) == AS_JSON


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", 404),
        (b"GET /healthz/../x HTTP/1.1", 404),
        (b"POST /healthz HTTP/1.1", 405),
        (b"get /healthz HTTP/1.1", 405),
        (b"GET /healthz", 400),
        (b"GET /healthz HTTP/2", 400),
        (b"", 400),
        (b"\x16\x03\x01\x02\x00\xff", 400),
        ("GET /ü\x1b[2J HTTP/1.1".encode(), 404),
    ],
)
async def test_anything_else_is_told_what_is_wrong_with_it(request_line: bytes, status: int) -> None:
    async with serve_health(lambda: WELL, 0) as port:
        line, headers, body = parts(await exchange(port, request_line + b"\r\n\r\n"))
        assert line.split()[1] == str(status)
        assert "error" in json.loads(body)
        assert ("allow" in headers) == (status == 405)
        assert b"200 OK" in await exchange(port, b"GET /healthz HTTP/1.1\r\n\r\n")


async def test_garbage_slow_and_vanishing_clients_leave_it_answering() -> None:
    async with serve_health(lambda: WELL, 0, slowest=0.05) as port:
        endless = await exchange(port, b"x" * 100_000)
        assert endless == b"" or b"400 Bad Request" in endless
        assert await exchange(port, b"GET /healthz HTT") == b"", "whoever is too slow is dropped"
        _, gone = await asyncio.open_connection("127.0.0.1", port)
        gone.write(b"GET /hea")
        gone.transport.abort()
        assert b"200 OK" in await exchange(port, b"GET /healthz HTTP/1.1\r\n\r\n")


async def test_of_many_idle_clients_only_so_many_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_CONNECTIONS", 4)
    async with serve_health(lambda: WELL, 0) as port:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        assert await exchange(port, b"GET /healthz HTTP/1.1\r\n\r\n") == b""
        for _, writer in idle:
            writer.close()
            await writer.wait_closed()
        answers = [await exchange(port, b"GET /healthz HTTP/1.1\r\n\r\n") for _ in range(100)]
        assert b"200 OK" in answers[-1]


async def test_many_ask_at_once() -> None:
    async with serve_health(lambda: WELL, 0) as port:
        answers = await side_by_side(exchange(port, b"GET /healthz HTTP/1.1\r\n\r\n") for _ in range(30))
    assert all(b"200 OK" in answer for answer in answers)


async def test_the_end_of_the_block_ends_open_connections_and_frees_the_port() -> None:
    clock = SystemClock()
    began = clock.monotonic()
    async with serve_health(lambda: WELL, 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz")
        assert await exchange(port, b"GET /healthz HTTP/1.1\r\n\r\n"), "the first one is open as well"
    with suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    assert clock.monotonic() - began < 3.0
    async with serve_health(lambda: ILL, port) as again:
        assert again == port


async def test_cancelling_the_block_closes_cleanly() -> None:
    ports: list[int] = []

    async def worker() -> None:
        async with serve_health(lambda: WELL, 0) as port:
            ports.append(port)
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(worker())
        await until(lambda: ports)
        _, writer = await asyncio.open_connection("127.0.0.1", ports[0])
        task.cancel()
    assert task.cancelled()
    writer.close()
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the system
        await asyncio.open_connection("127.0.0.1", ports[0])


async def test_a_port_that_is_taken_or_none_is_one_sentence() -> None:
    async with serve_health(lambda: WELL, 0) as port:
        for bad in (port, 70_000):
            with pytest.raises(UsageError, match=f"Health cannot be told on 127.0.0.1:{bad}: "):
                async with serve_health(lambda: WELL, bad):
                    pass


def names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


async def test_the_file_is_replaced_every_few_seconds_and_removed_at_the_end(tmp_path: Path) -> None:
    path, clock = tmp_path / "health.json", VirtualClock()

    def health() -> Health:
        return Health(clock.now(), healthy=True)

    async with beside(keep_health_file(path, health, clock, every=5.0)):
        while len(clock.slept) < 4:
            await asyncio.sleep(0)
            if path.exists():
                assert clock.now() - content(path)["time"] <= 5.0
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert names(tmp_path) == ["health.json"]
    assert set(clock.slept) == {5.0}
    assert names(tmp_path) == []


async def test_a_file_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written: No such file or directory"):
        await keep_health_file(tmp_path / "not" / "there", lambda: WELL, VirtualClock())


async def test_a_folder_that_goes_away_is_told_once_and_the_worker_goes_on(tmp_path: Path) -> None:
    told: list[str] = []
    folder, clock = tmp_path / "folder", VirtualClock()
    folder.mkdir()
    path = folder / "health.json"
    async with beside(keep_health_file(path, lambda: WELL, clock, on_failure=told.append)):
        await until(path.exists)
        path.unlink()
        folder.rmdir()
        seen = len(clock.slept)
        await until(lambda: len(clock.slept) >= seen + 4)
        assert len(told) == 1
        folder.mkdir()
        await until(path.exists)
    assert "cannot be written any more" in told[0]
