"""What a worker shows: a live view on a terminal, one line of JSON an event elsewhere."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from rich.live import Live
from rich.text import Text

from asyncrep.cli.render import printable, say
from asyncrep.cli.replicate_log import Log
from asyncrep.cli.replicate_news import Sieve, level_of, remedies, sentence_of
from asyncrep.cli.replicate_picture import Speeds, picture
from asyncrep.cli.replicate_terms import Names, clock_time
from asyncrep.replicate.events import (
    Conflicted,
    DataLost,
    Refused,
    ShardLeft,
    ShardTaken,
    Stalled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import Console

    from asyncrep.aws.lease import Lease
    from asyncrep.cli.replicate_news import News
    from asyncrep.flow.clock import Clock
    from asyncrep.replicate.events import ReplicationEvent

REFRESH_SECONDS = 0.5
"""How often the live view is drawn anew."""

LINES_AT_ONCE = 20
"""So many sentences are shown between two drawings; of further ones, only how many there were."""

_KINDS = {
    ShardTaken: "shards taken",
    ShardLeft: "shards left",
    Conflicted: "conflicts",
    Stalled: "stalls",
    Refused: "refused records",
}
_STYLES = {"info": "dim", "warning": "yellow", "error": "bold red"}


class View(Protocol):
    """Shows how a worker gets on."""

    def tell(self, event: ReplicationEvent) -> None:
        """Take note of an event; what is shown of it is shown soon. Never raises."""

    async def run(self) -> None:
        """Go on showing, until cancelled."""


@contextmanager
def watching(
    console: Console,
    *,
    task: str,
    source: str,
    destinations: Sequence[str],
    worker: str,
    quiet: bool,
    clock: Clock,
    leases: Callable[[], Mapping[str, Lease]],
) -> Iterator[View]:
    """Yield what shows on ``console`` how a worker gets on, in the way that fits it.

    Args:
        console: of messages.
        task: the task's name.
        source: the location of the table whose stream is followed.
        destinations: the locations of the tables that are written to.
        worker: the worker's name.
        quiet: show warnings and errors only.
        clock: tells and passes the time.
        leases: returns all leases of the task, as they were last read.
    """
    names = Names(task, source, tuple(destinations), worker)
    view: Log | TerminalView
    if console.is_terminal:
        view = TerminalView(console, names, quiet=quiet, clock=clock, leases=leases)
    else:
        view = Log(console.file, names, quiet=quiet, clock=clock)
    try:
        yield view
    except BaseException as error:
        view.end(error)
        raise
    view.end(None)


class TerminalView:
    """Shows figures that are drawn anew in place, and above them lines that scroll away.

    Args:
        console: a terminal.
        names: what the worker works on.
        quiet: show lines of warnings and errors, and nothing else.
        clock: tells and passes the time.
        leases: returns all leases of the task.
    """

    def __init__(
        self,
        console: Console,
        names: Names,
        *,
        quiet: bool,
        clock: Clock,
        leases: Callable[[], Mapping[str, Lease]],
    ) -> None:
        self._console = console
        self._names = names
        self._quiet = quiet
        self._clock = clock
        self._leases = leases
        self._sieve = Sieve(clock)
        self._speeds = Speeds(clock)
        self._lines = _Lines(console, names)
        self._is_gone = False
        # Results on stdout are none of this view's business; what libraries complain of is.
        self._live = Live(
            get_renderable=self._picture, console=console, auto_refresh=False, redirect_stdout=False
        )
        if not quiet:
            with self._noticing_its_end():
                self._live.start(refresh=True)

    def tell(self, event: ReplicationEvent) -> None:
        """Note an event for the next drawing."""
        news = self._sieve.sift(event)
        if news is None or self._is_gone:
            return
        if not self._quiet or level_of(news) != "info":
            self._lines.add(news, self._clock.now())

    async def run(self) -> None:
        """Draw again and again, until cancelled."""
        while True:
            self.refresh()
            await self._clock.sleep(REFRESH_SECONDS)

    def refresh(self) -> None:
        """Draw what there is now."""
        if self._is_gone:
            return  # rich would keep all that it cannot write
        self._speeds.note(self._sieve.figures)
        with self._noticing_its_end():
            self._lines.show()
            if self._live.is_started:
                self._live.refresh()

    def end(self, _error: BaseException | None) -> None:
        """Draw a last time and leave the terminal as it was."""
        self.refresh()
        with suppress(OSError):
            self._live.stop()

    @contextmanager
    def _noticing_its_end(self) -> Iterator[None]:
        """Show something; if the terminal is gone the worker need not go as well."""
        try:
            yield
        except OSError:
            self._is_gone = True

    def _picture(self) -> Text:
        size = self._console.size
        return picture(
            self._names,
            self._sieve.figures,
            self._speeds,
            self._leases(),
            put_aside=self._sieve.put_aside,
            width=size.width,
            height=size.height,
        )


class _Lines:
    """Sentences that wait to be shown."""

    def __init__(self, console: Console, names: Names) -> None:
        self._console = console
        self._names = names
        self._waiting: list[tuple[str, str]] = []
        self._more: Counter[str] = Counter()
        self._lost = False

    def add(self, news: News, now: float) -> None:
        """Have a sentence shown next time; or only counted, when there are too many."""
        sentence = sentence_of(news)
        if not sentence:
            return
        kind = _KINDS.get(type(news))
        if kind is not None and len(self._waiting) >= LINES_AT_ONCE:
            self._more[kind] += 1
            return
        self._lost = self._lost or isinstance(news, DataLost)
        self._waiting.append((f"{clock_time(now)}  {sentence}", _STYLES[level_of(news)]))

    def show(self) -> None:
        """Show what waits."""
        waiting, more, lost = self._waiting, self._more, self._lost
        self._waiting, self._more, self._lost = [], Counter(), False
        lines = [Text(sentence, style) for sentence, style in waiting]
        if more:
            counts = ", ".join(f"{number:,} more {kind}" for kind, number in more.items())
            lines.append(Text(f"… and {counts}", "yellow"))
        if lost:
            lines.append(Text("Only a full check finds what is missing now, and mends it:", "bold red"))
        if lines:
            say(self._console, Text("\n").join(lines))
        if lost:  # commands are to be copied: no line break of ours may be in them
            commands = "\n".join(f"  {printable(command)}" for command in remedies(self._names))
            self._console.print(Text(commands), style="bold red", soft_wrap=True)
