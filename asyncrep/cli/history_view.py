"""What ``incremental-record-history`` prints: a line for each version, and below it what it changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.text import Text

from asyncrep.backup.history import NOW
from asyncrep.backup.point_in_time import UNVERSIONED, moment
from asyncrep.cli.output import print_json
from asyncrep.cli.render import message_console, plural, printable, result_console, say, spelled_size
from asyncrep.cli.story import members
from asyncrep.items.equality import decode_image
from asyncrep.repair.story import brief

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.backup.history import Step
    from asyncrep.items.changes import PathChange

SHOWN = 20
"""How many changes of a version, or attributes of a new item, are shown; ``--json`` has more."""

_STYLES = {
    "created": "green",
    "changed": "yellow",
    "unchanged": "dim",
    "written": "yellow",
    "deleted": "red",
    "unreadable": "bold red",
}


class History:
    """Shows the history of one record, version by version.

    Attributes:
        shown: how many versions were.
    """

    def __init__(self, folder: str, key: bytes, names: Sequence[str], *, as_json: bool, quiet: bool) -> None:
        self.shown = 0
        self._folder = folder
        self._key = key.decode()
        self._name = names[0]
        self._as_json = as_json
        self._quiet = quiet
        self._console = result_console()
        self._oldest: Step | None = None

    def show(self, step: Step) -> None:
        """Print one version, older than the one before."""
        self.shown += 1
        self._oldest = step
        if self._as_json:
            print_json(step.as_dict())
            return
        if self.shown == 1:
            say(
                self._console, Text.assemble((printable(self._key), "bold"), f" in {printable(self._folder)}")
            )
        self._console.print()
        say(self._console, self._headline(step))
        for line in _details(step):
            self._indent(line)

    def end(self, *, is_cut: bool) -> None:
        """Say what the history is, after its last version."""
        if self._as_json or self._quiet:
            return
        if self._oldest is None:
            say(self._console, f"There is no version of {self._key} in {self._folder}.")
            return
        console = message_console()
        if console.is_terminal:
            console.print()
        say(console, self._summary(self._oldest, is_cut=is_cut), "dim")

    def _headline(self, step: Step) -> Text:
        version = step.version
        size = "" if version.is_deletion else spelled_size(version.size)
        line = Text.assemble(
            (moment(version.modified), "bold"), "  ", (f"{step.deed:<10}", _STYLES[step.deed]), f"{size:>9}  "
        )
        line.append(printable(version.version_id), "dim")
        if version.name != self._name:
            line.append(f"  object {version.name[:8]}…", "dim")
        return line

    def _indent(self, line: Text) -> None:
        # In a pipe a sentence is one line, as everywhere.
        if self._console.is_terminal:
            self._console.print(Padding(line, (0, 0, 0, 4)), highlight=False)
        else:
            self._console.print(Text("    ").append_text(line), highlight=False, soft_wrap=True)

    def _summary(self, oldest: Step, *, is_cut: bool) -> str:
        told = plural(self.shown, "version")
        if is_cut and oldest.older:
            return f"{told}; there are older ones."
        if oldest.version.version_id == NOW:
            return f"{told}: a local folder keeps no others."
        if oldest.version.version_id == UNVERSIONED:
            return f"{told}; the bucket kept none when the oldest was written, so that what was before it is not known."
        return f"{told}; none is kept that is older."


def _details(step: Step) -> list[Text]:
    if step.problem is not None:
        return [Text(printable(f"{step.problem[0].upper()}{step.problem[1:]}"), "red")]
    if step.deed == "changed":
        return _shortened([_change(each) for each in step.changes], step.more_changes, "change")
    if step.image is None or step.deed == "unchanged":
        return []
    item = decode_image(step.image)
    return _shortened([_named(name, brief(value)) for name, value in item.items()], 0, "attribute")


def _shortened(lines: list[Text], more: int, noun: str) -> list[Text]:
    more += max(0, len(lines) - SHOWN)
    rest = [Text(f"… and {plural(more, noun)} more", style="dim")] if more else []
    return lines[:SHOWN] + rest


def _change(change: PathChange) -> Text:
    if not change.members:
        return _named(change.spelled, f"{brief(change.primary)} → {brief(change.replica)}")
    sides = (("without", change.primary), ("with", change.replica))
    told = [f"{word} {members(value)}" for word, value in sides if value is not None]
    return _named(change.spelled, "; ".join(told))


def _named(name: str, value: str) -> Text:
    return Text.assemble((printable(name), "yellow"), (f": {printable(value)}", "default"))
