"""What ``explain`` prints: a record side by side, and its story in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.text import Text

from asyncrep.cli.render import plural, printable, say, show_attributes
from asyncrep.model import State
from asyncrep.repair import story
from asyncrep.repair.story import brief

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from asyncrep.items.changes import PathChange
    from asyncrep.repair.explain import Explanation

SHOWN_DIFFERENCES = 20
"""How many places in which two items differ are shown; ``--json`` has more."""

_CHAPTERS: tuple[tuple[str, Callable[[Explanation], Sequence[str]]], ...] = (
    ("Why", story.cause),
    ("Is it being written to?", story.movement),
    ("Time to live", story.times_to_live),
    ("Settings that could explain it", lambda told: told.settings),
    ("Size", story.sizes),
    ("What was done to it", story.past),
    ("What a repair would do", story.remedy),
)


def show_story(console: Console, told: Explanation) -> None:
    """Print the story of one record."""
    if told.record.exists:
        show_attributes(console, told.record)
    found = told.discrepancy
    drifted = found is not None and found.state is State.FOUND
    say(console, story.verdict(told), "bold yellow" if drifted else "green")
    if told.differences:
        _show_differences(console, told)
    for title, sentences in _CHAPTERS:
        if lines := sentences(told):
            _show_chapter(console, title, [Text(printable(line)) for line in lines])


def _show_differences(console: Console, told: Explanation) -> None:
    lines = [_difference(each) for each in told.differences[:SHOWN_DIFFERENCES]]
    more = len(told.differences) - len(lines) + told.more_differences
    if more:
        lines.append(Text(f"… and {plural(more, 'difference')} more", style="dim"))
    _show_chapter(console, "What differs, primary → replica", lines)


def _show_chapter(console: Console, title: str, lines: Sequence[Text]) -> None:
    console.print()
    console.print(Text(title, style="bold"))
    for line in lines:
        # In a pipe a sentence is one line, as everywhere.
        if console.is_terminal:
            console.print(Padding(line, (0, 0, 0, 2)), highlight=False)
        else:
            console.print(Text("  ").append_text(line), highlight=False, soft_wrap=True)


def _difference(change: PathChange) -> Text:
    text = Text(printable(change.spelled), style="yellow")
    if not change.members:
        return text.append(printable(f": {brief(change.primary)} → {brief(change.replica)}"), style="default")
    sides = (("primary", change.primary), ("replica", change.replica))
    lacking = [f"only the {name} has {members(value)}" for name, value in sides if value is not None]
    return text.append(printable(f": {'; '.join(lacking)}"), style="default")


def members(value: object) -> str:
    """Spell the members of a set, ``"a", "b"``."""
    assert isinstance(value, dict)
    ((kind, members),) = value.items()
    return ", ".join(brief({kind[0]: member}, 40) for member in members[:10]) + (
        f" and {len(members) - 10:,} more" if len(members) > 10 else ""
    )
