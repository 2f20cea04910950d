"""The pool of workers, with workers that die, babble and hang at every moment there is."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from asyncrep import AsyncrepError, Comparison, Found, Limits, Note, PermissionDeniedError, Rules
from asyncrep.aws.place import Place
from asyncrep.diff.run import Run
from asyncrep.diff.spool import Spool
from asyncrep.location import TableRef
from asyncrep.model import Missing, Segment
from asyncrep.parallel import lead, pool
from asyncrep.parallel.hire import hired
from asyncrep.parallel.messages import Brief, Frames, Share, Told, decode_news, framed
from asyncrep.parallel.pool import Pool, split_limits
from tests.support.scenario import Log, Scene, key, scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asyncrep.report import Report
    from tests.support.scripted import ScriptedDynamo


@pytest.fixture(autouse=True)
def two_shares_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tables have one share for each worker; here each has two, as of large ones it may have more."""
    for module in (pool, lead):
        monkeypatch.setattr(
            module, "number_of_shares", lambda run, processes: min(2 * processes, len(run.segments))
        )


PLAY = """
import os, signal, sys, time
from pathlib import Path
from asyncrep.model import *
from asyncrep.parallel.messages import *
from asyncrep.parallel.messages import _LENGTH

def order():
    head = sys.stdin.buffer.read(4)
    if not head:
        sys.exit()
    return decode_order(sys.stdin.buffer.read(_LENGTH.unpack(head)[0]))

def tell(*news):
    for each in news:
        sys.stdout.buffer.write(framed(each))
    sys.stdout.buffer.flush()

def told(name, kind="missing", state=State.FOUND):
    image = b"{}"
    sides = {"missing": (image, None), "different": (image, image), "extraneous": (None, image)}[kind]
    return Told(kind, name.encode(), *sides, 0, state, None)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

folder = Path(sys.argv[1])
hire = len(list(folder.iterdir()))
(folder / f"{hire}").touch()
"""
"""What the plays below begin with; `hire` is how many workers were hired before, one at a time."""


@pytest.fixture
def tables(endpoint: ScriptedDynamo) -> Scene:
    """Two empty tables, that no worker of these tests looks at."""
    return scene(endpoint)


class Troupe:
    """A pool of one worker, which plays a part.

    Attributes:
        spool: what may be deleted in the end.
        folder: a file for each worker that was hired.
    """

    def __init__(self, tables: Scene, folder: Path, spool: Spool) -> None:
        self.folder = folder
        self.log = Log()
        self.spool = spool
        self._tables = tables

    async def play(
        self, part: str, *, segments: int = 1, observer: Any = None, limits: Limits | None = None
    ) -> Report:
        """Have all segments done by workers that do what the part says."""
        ours, theirs = (Place(TableRef(name, "us-east-1")) for name in ("ours", "theirs"))
        brief = Brief("diff", ours, theirs, Limits(), Comparison(), "auto", Rules())
        async with self._tables.open() as (primary, replica):
            run: Run[Any] = Run.of(
                primary,
                replica,
                segments=[Segment(index, segments) for index in range(segments)],
                observer=observer or self.log,
                limits=limits,
            )
            arguments = [sys.executable, "-c", PLAY + part, str(self.folder)]
            await Pool(run, brief, 1, self.spool, arguments).work()
            run.tally()
            return run.report

    @property
    def hires(self) -> int:
        return len(list(self.folder.iterdir()))


@pytest.fixture
def troupe(tables: Scene, tmp_path: Path) -> Iterator[Troupe]:
    """A pool that plays."""
    folder = tmp_path / "hires"
    folder.mkdir()
    with Spool() as spool:
        yield Troupe(tables, folder, spool)


WHOLE = """
brief = order()
while True:
    share = order()
    tell(Counts(scanned_primary=10, matched=10 - len(share.told), again=0), Done())
"""


@pytest.mark.parametrize("moment", ["", "order()", "order(); order()"])
async def test_a_worker_that_dies_before_it_has_told_anything(troupe: Troupe, moment: str) -> None:
    report = await troupe.play(f"if hire == 0:\n    {moment}\n    die()\n{WHOLE}", segments=2)
    assert (report.scanned_primary, report.matched, troupe.hires) == (20, 20, 2)


async def test_a_worker_that_dies_when_it_has_done_its_share(troupe: Troupe) -> None:
    """What it has done is done; only the next share is done by another."""
    report = await troupe.play(
        f"if hire == 0:\n    order(); order(); tell(Counts(matched=3), Done()); die()\n{WHOLE}", segments=2
    )
    assert (report.matched, troupe.hires) == (13, 2)


async def test_what_was_told_and_not_counted_is_counted_once(troupe: Troupe) -> None:
    report = await troupe.play("""
order(); share = order()
match hire:
    case 0:
        tell(Counts(scanned_primary=4, matched=4, read_units=1.0), told("a"), told("b", "different"))
        tell(told("x", "extraneous"))
        die()
    case 1:
        assert (share.again, share.told) == (True, [b"a", b"b", b"x"])
        tell(Counts(scanned_primary=2, matched=1, again=1, read_units=2.0), told("c"))
        die()
    case 2:
        assert share.told == [b"a", b"b", b"x", b"c"]
        # "a" was found again; "b" and "c" are equal by now, and count as matched here.
        tell(told("d"), Counts(scanned_primary=10, matched=8, again=1, read_units=4.0), Done())
        order()
""")
    assert (report.scanned_primary, report.matched, report.read_units) == (10, 6, 7.0)
    assert (report.missing, report.different, report.extraneous, report.compared) == (3, 1, 1, 11)
    assert sorted(troupe.log.records) == [b"a", b"b", b"c", b"d", b"x"]


async def test_a_budget_is_given_out_once(troupe: Troupe) -> None:
    """What one share leaves is the others', and what the dead have spent is spent."""
    report = await troupe.play(
        """
order()
def spend(dollars, affordable):
    share = order()
    assert abs(share.max_cost - affordable) < 1e-9, share.max_cost
    tell(Counts(dollars=dollars))
if hire == 0:
    spend(2.0, 5.0)
    die()
spend(1.0, 4.0); tell(Done())
spend(7.0, 7.0); tell(Done())
order()
""",
        segments=2,
        limits=Limits(max_cost=10.0),
    )
    assert report.cost_usd == pytest.approx(10.0)


async def test_what_was_put_aside_counts_only_when_the_share_is_done(troupe: Troupe) -> None:
    await troupe.play("""
order()
if hire == 0:
    order(); tell(Aside([(b"x", 0, 1)])); die()
while True:
    order(); tell(Aside([(b"x", 0, 1)]), Done())
""")
    assert [candidate.key for candidate in troupe.spool] == [b"x"]


async def test_half_a_message_is_none(troupe: Troupe) -> None:
    report = await troupe.play(f"""
if hire == 0:
    order(); order()
    whole = framed(told("a"))
    os.write(1, whole[:-1])
    die()
{WHOLE}""")
    assert (report.missing, report.matched, troupe.log.records) == (0, 10, {})


async def test_many_keys_reach_a_worker_that_does_not_read_yet(troupe: Troupe) -> None:
    report = await troupe.play("""
order()
if hire == 0:
    order()
    tell(*(told(f"{number:0500}") for number in range(12_000)))
    die()
time.sleep(0.3)  # far more than a pipe holds is on its way
share = order()
assert len(set(share.told)) == 12_000
tell(Counts(matched=5, again=len(share.told)), Done())
order()
""")
    assert (report.missing, report.matched) == (12_000, 5)


async def test_workers_that_keep_dying_are_not_replaced_for_ever(troupe: Troupe) -> None:
    with pytest.raises(AsyncrepError, match=r"^3 worker processes died over the same .* exit code 7\.$"):
        await troupe.play("sys.exit(7)")
    assert troupe.hires == 3


async def test_a_message_that_is_none_ends_the_run(troupe: Troupe) -> None:
    with pytest.raises(AsyncrepError, match="sent what is no message"):
        await troupe.play("order(); os.write(1, _LENGTH.pack(5) + b'hello'); order(); order()")


async def test_an_error_is_raised_as_what_it_was(troupe: Troupe) -> None:
    with pytest.raises(PermissionDeniedError, match="not yours"):
        await troupe.play("order(); order(); tell(Broken('PermissionDeniedError', 'not yours'))")


async def test_notes_are_told_once(troupe: Troupe) -> None:
    await troupe.play(
        "order()\nwhile True:\n    order(); tell(Said('look'), Said('look'), Done())", segments=2
    )
    assert troupe.log.of(Note) == [Note("look")]


async def test_a_worker_may_conclude_when_its_news_cannot_be_passed_on(troupe: Troupe) -> None:
    """The disk is full: nobody wants its news any more, and still it is not killed in the middle of its writes."""

    class Full:
        def notice(self, event: object) -> None:
            if isinstance(event, Found):
                raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        await troupe.play(
            """
def end(*_):
    tell(*(told(f"{number:0500}") for number in range(2_000)))
    (folder / "concluded").touch()
    sys.exit()
signal.signal(signal.SIGTERM, end)
order(); order(); tell(told("a")); order()
""",
            observer=Full(),
        )
    assert (troupe.folder / "concluded").exists()


async def test_a_run_that_is_cancelled_in_the_middle_of_a_message_takes_it_whole(troupe: Troupe) -> None:
    part = """
whole = framed(told("a"))
def end(*_):
    os.write(1, whole[6:])
    tell(told("b"))
    sys.exit()
signal.signal(signal.SIGTERM, end)
order(); order()
os.write(1, framed(Said("half of it follows")) + whole[:6])  # at once: whoever reads the one has to have the other
order()
"""
    async with asyncio.timeout(20):
        playing = asyncio.ensure_future(troupe.play(part))
        while not troupe.log.notes:  # noqa: ASYNC110 - of another process's doing
            await asyncio.sleep(0.01)
        playing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await playing
    assert sorted(troupe.log.records) == [b"a", b"b"]


async def test_waiting_for_a_message_may_be_cancelled_at_every_byte() -> None:
    found = Missing(key=key("a"), primary=b"{}")
    stream = asyncio.StreamReader()
    frames = Frames(stream)
    for byte in framed(Told.of(found)):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await frames.next()
        stream.feed_data(bytes([byte]))
    told = decode_news(await frames.next() or b"")
    assert isinstance(told, Told)
    assert told.discrepancy() == found
    stream.feed_eof()
    assert await frames.next() is None


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_orders_to_one_who_is_gone_are_lost_silently(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> int | None:
        async with hired([sys.executable, "-S", "-c", "raise SystemExit(5)"]) as worker:
            for _ in range(3):
                worker.send(Share([0], 1))
                await worker.wait()
                await asyncio.sleep(0.01)
            worker.terminate()
            worker.kill()
        return worker.exit_code

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(main()) == 5


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_worker_that_cannot_be_started_is_one_sentence(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def main() -> None:
        async with hired([str(tmp_path / "python")]):
            pass

    with asyncio.Runner(loop_factory=loop) as runner, pytest.raises(AsyncrepError) as refused:
        runner.run(main())
    assert str(refused.value) == "A worker process could not be started: No such file or directory."


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_worker_is_not_left_when_its_start_is_cancelled(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def hire() -> None:
        async with hired([sys.executable, "-S", "-c", "import time; time.sleep(60)", str(tmp_path)]):
            pytest.fail("it was called off before")

    async def main() -> None:
        hiring = asyncio.ensure_future(hire())
        await asyncio.sleep(0)
        hiring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hiring

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
    assert (
        subprocess.run(["pgrep", "-f", str(tmp_path)], check=False, stdout=subprocess.DEVNULL).returncode == 1
    )


def test_the_parts_of_a_limit_are_the_limit() -> None:
    whole = Limits(concurrency=32, read_units=50, write_units=10, read_percent=30, write_percent=3)
    part = split_limits(whole, 4)
    assert part == Limits(
        concurrency=8, read_units=12.5, write_units=2.5, read_percent=7.5, write_percent=0.75
    )
    assert split_limits(Limits(concurrency=2), 3) == Limits(concurrency=1)
