"""Names that steer terminals and leave folders, and what no command may make of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Ran

STEERING = "\x1b]0;owned\x07\x1b[2J\x9b1A\n\r\x08\x7f\x85\u202e\u200b\u2028\u2066"
"""Set the title, clear the screen, go up, feed lines, write from right to left, and be invisible."""
MARKUP = "[bold]b[/bold] [/nope] [link=https://evil.example]l[/link] :bomb:"
"""What rich takes for styles, links and emoji, and for an error in them."""
HOSTILE = f"{STEERING} {MARKUP}"
ODD_FILE = f"{STEERING} [red]".replace("/", "")
# Everything rich sends to steer the screen: colours, lines up, erase line, the cursor's visibility.
_RICH_S_OWN = re.compile(r"\x1b\[(?:[0-9;]*m|[0-9]*A|2K|\?25[lh])|\r\n|\r")


def steers(text: str, *, terminal: bool = False) -> set[str]:
    """The characters that are neither printable nor the end of a line, of what is not rich's own."""
    shown = _RICH_S_OWN.sub("", text) if terminal else text
    return {each for each in shown if not each.isprintable() and each != "\n"}


def check(ran: Ran, *codes: int, verbose: bool = False) -> None:
    """Fail unless a command ended as it should and told nothing raw."""
    assert steers(ran.stdout + ran.stderr) == set(), ran
    assert verbose or "Traceback" not in ran.stderr, ran.stderr
    assert "Unexpected" not in ran.stderr, ran.stderr
    assert ran.code in (codes or range(4)), ran


def files(folder: Path) -> set[str]:
    """Everything under a folder, relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
