"""asyncrep follows a stream through its public API, to the end of all shards, under one of its policies.

With `--workers 2` two processes of this program do, which are given their shares of the shards beforehand:
balance between workers comes from leases that expire or are stolen, which takes minutes and no processor time.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import ExitStack, asynccontextmanager
from secrets import token_hex
from typing import TYPE_CHECKING

import aioboto3

from asyncrep import open_table
from asyncrep.aws.leases import TASK_PREFIX, open_lease_table
from asyncrep.aws.streams import open_streams
from asyncrep.flow.tasks import beside
from asyncrep.options import Limits
from asyncrep.replicate.policy import Policy
from asyncrep.replicate.worker import find_stream, prepare_worker
from benchmarks.contestants import contest
from benchmarks.stream import VERSION

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from asyncrep.aws.leases import LeaseTable
    from asyncrep.replicate.worker import Worker

_LOOK_SECONDS = 0.2


@asynccontextmanager
async def opened(options: argparse.Namespace) -> AsyncIterator[tuple[Worker, LeaseTable]]:
    """A worker, and the leases of its task; where there are to be several workers each has its share."""
    session = aioboto3.Session(**contest.CREDENTIALS)
    async with (
        open_table(f"{options.url}/primary", session=session) as primary,
        open_table(f"{options.url}/copy", session=session) as copy,
        open_streams(primary.ref, session=session) as streams,
        open_lease_table(
            TASK_PREFIX + options.task, None, endpoint_url=options.url, session=session
        ) as leases,
    ):
        stream = await find_stream(primary, streams)
        policy = Policy(options.guard, VERSION)
        destination = copy.limited(Limits(concurrency=options.concurrency))
        applier = await policy.applier(destination, create_guard=True)
        worker = await prepare_worker(stream, [applier], leases, name=options.name)
        if options.name is None and options.workers > 1:
            for number, lease in enumerate(await leases.list()):
                await leases.take(lease, _name(number % options.workers))
        yield worker, leases


async def contend(options: argparse.Namespace) -> None:
    """Follow to the end of all shards, and say how many records were read."""
    async with opened(options) as (worker, leases), beside(stop_at_end(worker, leases)):
        await worker.run()
    contest.finished(worker.figures.read)


async def stop_at_end(worker: Worker, leases: LeaseTable) -> None:
    """Stop a worker when all shards are done with, its own and those of others."""
    while not all(lease.is_finished for lease in await leases.list()):  # noqa: ASYNC110 - nobody tells of others
        await asyncio.sleep(_LOOK_SECONDS)
    worker.stop()


async def prepare(options: argparse.Namespace) -> None:
    """Make the leases, and give each worker its share."""
    async with opened(options):
        pass


def run_workers(options: argparse.Namespace) -> None:
    """Have processes follow, which end when this one does, and say how many records they have read together.

    Raises:
        ValueError: one of them has ended with an error.
    """
    words = (sys.executable, "-m", "benchmarks.contestants.asyncrep_replicate", *sys.argv[1:])
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    [*words, "--task", options.task, "--name", _name(number)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            for number in range(options.workers)
        ]
        answers = [worker.stdout.read() for worker in workers if worker.stdout is not None]
    if any(worker.returncode for worker in workers):
        message = f"workers ended with {[worker.returncode for worker in workers]}"
        raise ValueError(message)
    contest.finished(sum(json.loads(answer)["items"] for answer in answers))


def _name(number: int) -> str:
    return f"worker-{number}"


def main() -> None:
    parser = contest.arguments(__doc__)
    parser.add_argument("--guard", choices=("none", "sequence", "version"), default="none")
    parser.add_argument("--concurrency", type=int, default=Limits().concurrency)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--task", default=token_hex(8))
    parser.add_argument("--name")
    options = parser.parse_args()
    if options.workers == 1 or options.name is not None:
        contest.run(contend(options), options.loop)
    else:
        contest.run(prepare(options), options.loop)
        run_workers(options)


if __name__ == "__main__":
    main()
