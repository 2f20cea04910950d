"""asyncrep follows a stream through its public API, to the end of all shards, under one of its policies.

With `--workers 2` two processes of this program do, which are given their shares of the shards beforehand:
balance between workers comes from leases that expire or are stolen, which takes minutes and no processor time.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import TYPE_CHECKING

import aioboto3

from asyncrep import open_table
from asyncrep.aws.leases import TASK_PREFIX, open_lease_table
from asyncrep.aws.streams import open_streams
from asyncrep.options import Limits
from asyncrep.replicate.events import ShardLeft
from asyncrep.replicate.policy import Policy
from asyncrep.replicate.worker import find_stream, prepare_worker
from benchmarks.contestants import contest
from benchmarks.stream import VERSION

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from asyncrep.replicate.events import ReplicationEvent
    from asyncrep.replicate.worker import Worker


@asynccontextmanager
async def opened(options: argparse.Namespace) -> AsyncIterator[Worker]:
    """A worker that stops when it has followed its share of the shards to their ends."""
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
        ended = 0

        def tell(event: ReplicationEvent) -> None:
            nonlocal ended
            if isinstance(event, ShardLeft):
                ended += 1
                if ended == share:
                    worker.stop()

        worker = await prepare_worker(stream, [applier], leases, tell=tell, name=options.name)
        shards = await leases.list()
        share = len(shards) // options.workers
        if options.name is None and options.workers > 1:
            for number, lease in enumerate(shards):
                await leases.take(lease, _name(number % options.workers))
        yield worker


async def contend(options: argparse.Namespace) -> None:
    """Follow, and say how many records were read."""
    async with opened(options) as worker:
        await worker.run()
    contest.finished(worker.figures.read)


async def prepare(options: argparse.Namespace) -> None:
    """Make the leases, and give each worker its share."""
    async with opened(options):
        pass


def run_workers(options: argparse.Namespace) -> None:
    """Have processes follow, and say how many records they have read together."""
    words = (sys.executable, "-m", "benchmarks.contestants.asyncrep_replicate", *sys.argv[1:])
    workers = [
        subprocess.Popen(
            [*words, "--task", options.task, "--name", _name(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for number in range(options.workers)
    ]
    answers = [json.loads(worker.communicate()[0]) for worker in workers]
    contest.finished(sum(answer["items"] for answer in answers))


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
